package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// A process of this program in a role is this test binary too.
func TestMain(m *testing.M) {
	if play(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// Each system does its work, and a run leaves its figures and nothing else.
func TestEachSystem(t *testing.T) {
	t.Chdir(t.TempDir())
	o := options{
		rounds: 1, d: 50 * time.Millisecond, json: "bench.json", backlog: 100,
		only: regexp.MustCompile(`p50$|100 waiting|, 16 in flight$|fdatasync|SyncAlways|64 B|65536 B|10 subjects`),
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("bench.json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Figures []figure }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Figures) < 12 {
		t.Errorf("only %d figures", len(got.Figures))
	}
	for _, f := range got.Figures {
		if f.Median <= 0 || f.P50 <= 0 {
			t.Errorf("%s measured nothing: %v", f.Name, f)
		}
	}
	if left, _ := filepath.Glob("bench-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// BenchmarkSteward is for profiles: the figure that counts comes from the command.
func BenchmarkSteward(b *testing.B) {
	for _, clients := range []int{1, 256, 1024} {
		b.Run(fmt.Sprintf("%d-in-flight", clients), func(b *testing.B) {
			before := cpu()
			d := 4 * time.Second
			s, err := one.measure(b.TempDir(), shape{clients, size, 1}, d)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(s.rate, "msgs/s")
			b.ReportMetric(float64(cpu()-before)/float64(time.Microsecond)/(s.rate*d.Seconds()), "cpu-µs/msg")
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
