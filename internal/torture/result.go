package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/crashfs"
)

// result is a round as it is written to the file of results.
type result struct {
	Act        string             `json:"act,omitempty"`
	Seed       uint64             `json:"seed"`
	Round      int                `json:"round"`
	Length     float64            `json:"length"` // of the troubles, in seconds
	Hub        bool               `json:"hub,omitempty"`
	Disk       crashfs.Mode       `json:"disk,omitempty"`
	Messages   int                `json:"messages"`
	Outcomes   map[string]int     `json:"outcomes"`
	Faults     map[string]int     `json:"faults"`
	Lasted     map[string]float64 `json:"lasted"` // seconds, by fault and by its class
	Bits       map[string]int     `json:"bits,omitempty"`
	Violations []violation        `json:"violations"`
	Seconds    float64            `json:"seconds"`
	Drain      float64            `json:"drainSeconds"`
	Last       string             `json:"last,omitempty"` // what the drain waited for last
}

// replay is how to play it again, with the flags that it was played with.
func (r result) replay() string {
	s := fmt.Sprintf("-seed %d -first %d -rounds 1", r.Seed, r.Round)
	if r.Act != "" {
		s = "-acts " + r.Act + " " + s
	}
	return s
}

func (r *round) result(ev evidence, began time.Time, drained time.Duration) result {
	res := result{
		Seed: r.plan.Seed, Round: r.plan.Round, Hub: r.plan.Hub, Disk: r.plan.Disk, Outcomes: map[string]int{}, Faults: map[string]int{},
		Lasted: map[string]float64{}, Bits: map[string]int{}, Messages: len(ev.sent), Drain: drained.Seconds(),
	}
	res.Violations = r.violations
	if ev.sent != nil {
		ev.limits = r.limits
		res.Violations = append(res.Violations, judge(&ev)...)
	}
	for _, m := range ev.sent {
		res.Outcomes[string(m.Outcome)]++
	}
	for _, e := range r.events {
		e.What, _, _ = strings.Cut(e.What, ":") // and not the how many-th time
		res.Faults[e.What]++
		if e.Bits > 0 {
			res.Bits[e.What] += e.Bits
		}
		if class, _, how := strings.Cut(e.What, " "); e.Lasted > 0 {
			res.Lasted[e.What] += e.Lasted.Seconds()
			if how {
				res.Lasted[class] += e.Lasted.Seconds()
			}
		}
	}
	res.Seconds = time.Since(began).Seconds()
	return res
}
