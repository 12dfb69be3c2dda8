package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// writeReport writes a page with the run's table and plot, which lies beside it.
func writeReport(path string, figures []figure, ratios []ratio, o options) error {
	picture := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	var b strings.Builder
	fmt.Fprintf(&b, `# Performance

This page and its plot were written by one run; nothing on it was edited by hand.

| | |
| --- | --- |
| when | %s |
| commit | %s |
| machine | %s |
| command | %s |
| each figure | the median of %d interleaved runs of %v each, with the least and the most |

A piece of work is a request that is durable at its sender or broker, consumed, answered with the same bytes, the answer
durable too, and both acknowledged. Where nothing else is said a message has %d B, and all go to one subject. steward syncs
both journals, the sender's and the receiver's. The systems that are marked as not durable lose on a power cut what they
had acknowledged; they are here to show what syncing costs. The load comes from the same machine. Where one command goes to
many nodes, these are light receivers that speak the real protocol from a few processes, each with a journal of its own in memory,
for each would have a disk of its own; the times count from submission to the durable result, the memory is for each receiver.

![Work per second by calls in flight](%s)

| | per second, or as said | least to most | p50 | p99 |
| --- | ---: | ---: | ---: | ---: |
`, time.Now().UTC().Format("2006-01-02 15:04 MST"), commit(), machine(), "`"+commandLine()+"`", o.rounds, o.d, size, filepath.Base(picture))
	for _, f := range figures {
		fmt.Fprintln(&b, f.markdown())
	}
	if len(ratios) > 0 {
		fmt.Fprint(&b, "\n| ratio | | bar |\n| --- | ---: | --- |\n")
	}
	for _, r := range ratios {
		fmt.Fprintf(&b, "| %s | %.2f | %s |\n", r.Name, r.Ratio, r.bar)
	}
	if err := os.WriteFile(picture, []byte(plot(figures)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func (f figure) markdown() string {
	switch {
	case f.NotRun != "":
		return fmt.Sprintf("| %s | could not be run: %s | | | |", f.Name, f.NotRun)
	case f.Shape == nil:
		return fmt.Sprintf("| %s | %.0f %s | %.0f to %.0f | | |", f.Name, f.Median, f.Unit, f.Min, f.Max)
	case f.Unit == perSecond:
		return fmt.Sprintf("| %s | %.0f | %.0f to %.0f | %s | %s |", f.Name, f.Median, f.Min, f.Max, latency(f.P50), latency(f.P99))
	}
	return fmt.Sprintf("| %s | %.0f %s | %.0f to %.0f | %s | %s |", f.Name, f.Median, f.Unit, f.Min, f.Max, latency(f.P50), latency(f.P99))
}

func latency(us float64) string {
	if us < 1000 {
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.3g ms", us/1000)
}

// commandLine repeats the run.
func commandLine() string {
	words := []string{"go run ./internal/bench"}
	for _, a := range os.Args[1:] {
		if strings.ContainsAny(a, " |*?()$") {
			a = "'" + a + "'"
		}
		words = append(words, strings.ReplaceAll(a, "|", `\|`)) // within a table
	}
	return strings.Join(words, " ")
}

// commit is what was measured, and whether it was changed since.
func commit() string {
	out, err := exec.CommandContext(context.Background(), "git", "describe", "--always", "--dirty", "--exclude", "*").Output()
	if err != nil {
		return "not in a clone"
	}
	return strings.TrimSpace(string(out))
}

// machine is what this one says of itself, without its name.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d × %s, %s of memory, %s %s, %s", runtime.NumCPU(), valueOf("/proc/cpuinfo", "model name"),
		valueOf("/proc/meminfo", "MemTotal"), runtime.GOOS, strings.TrimSpace(string(kernel)), runtime.Version())
}

// valueOf is what stands behind key: in a file of such lines.
func valueOf(path, key string) string {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown " + key
}
