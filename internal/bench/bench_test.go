package main

import (
	"testing"
	"time"
)

func BenchmarkSteward256(b *testing.B) {
	v, err := stewardRun(b.TempDir(), 4*time.Second, 256, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(v, "msgs/s")
}
