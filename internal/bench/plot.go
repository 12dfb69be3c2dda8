package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The plot's measures: the axes are logarithmic, from 1 to 1,024 in flight and
// from 100 to 100,000 pieces of work per second.
const (
	plotLeft, plotTop, plotWidth, plotHeight = 70.0, 20.0, 520.0, 420.0

	leastRate, decades = 100.0, 3.0
	doublings          = 10.0
)

var colours = []string{"#0b5fa5", "#d1495b", "#2e7d32", "#e08e0b", "#6a4c93", "#00838f", "#8d6e63", "#c2185b", "#546e7a", "#7cb342", "#000000"}

// plot draws the rate of each system over the calls in flight, as SVG.
func plot(figures []figure) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 500" font-family="sans-serif" font-size="12">`+"\n")
	fmt.Fprintln(&b, `<rect width="1000" height="500" fill="white"/>`)
	for rate := leastRate; rate <= leastRate*math.Pow(10, decades); rate *= 10 {
		line(&b, across(1), up(rate), across(1024), up(rate))
		label(&b, plotLeft-8, up(rate)+4, "end", fmt.Sprintf("%.0f/s", rate))
	}
	for _, n := range []int{1, 4, 16, 64, 256, 1024} {
		line(&b, across(n), up(leastRate), across(n), plotTop)
		label(&b, across(n), plotTop+plotHeight+18, "middle", fmt.Sprint(n))
	}
	label(&b, plotLeft+plotWidth/2, plotTop+plotHeight+40, "middle", fmt.Sprintf("calls in flight, %d B, one subject", size))
	for i, c := range curves(figures) {
		colour, dash := colours[i%len(colours)], ""
		if strings.Contains(c.name, "not durable") {
			dash = ` stroke-dasharray="5 4"`
		}
		var points []string
		for _, f := range c.points {
			x, y := across(f.Shape.InFlight), up(f.Median)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.Join(points, " "), colour, dash)
		at := plotTop + 10 + 20*float64(i)
		fmt.Fprintf(&b, `<line x1="605" y1="%.0f" x2="630" y2="%.0f" stroke="%s" stroke-width="2"%s/>`+"\n", at-4, at-4, colour, dash)
		label(&b, 636, at, "start", c.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// curve is a system's rates, by rising calls in flight.
type curve struct {
	name   string
	points []figure
}

// curves are the systems in the plot's shapes, in the order of the table.
func curves(figures []figure) (list []curve) {
	for _, f := range figures {
		if f.Shape == nil || f.NotRun != "" || f.Unit != perSecond || f.Shape.Bytes != size || f.Shape.Subjects != 1 || strings.Contains(f.Name, "waiting") {
			continue
		}
		i := slices.IndexFunc(list, func(c curve) bool { return c.name == f.System })
		if i < 0 {
			i, list = len(list), append(list, curve{name: f.System})
		}
		list[i].points = append(list[i].points, f)
	}
	for _, c := range list {
		slices.SortStableFunc(c.points, func(a, b figure) int { return a.Shape.InFlight - b.Shape.InFlight })
	}
	return list
}

func across(inFlight int) float64 { return plotLeft + plotWidth*math.Log2(float64(inFlight))/doublings }

func up(rate float64) float64 {
	share := math.Log10(rate/leastRate) / decades
	return plotTop + plotHeight*(1-min(max(share, 0), 1))
}

func line(b *strings.Builder, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", x1, y1, x2, y2)
}

func label(b *strings.Builder, x, y float64, anchor, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}
