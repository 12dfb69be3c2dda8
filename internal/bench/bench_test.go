package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSteward is for profiles: the figure that counts comes from the command.
func BenchmarkSteward(b *testing.B) {
	for _, clients := range []int{1, 256, 1024} {
		b.Run(fmt.Sprintf("%d-in-flight", clients), func(b *testing.B) {
			before := cpu()
			d := 4 * time.Second
			rate, err := stewardRun(b.TempDir(), d, clients, false)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(rate, "msgs/s")
			b.ReportMetric(float64(cpu()-before)/float64(time.Microsecond)/(rate*d.Seconds()), "cpu-µs/msg")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
