package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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
		rounds: 1, d: 20 * time.Millisecond, json: "bench.json", backlog: 100, peers: true,
		only: regexp.MustCompile(`p50$|100 waiting|, 16 in flight$|fdatasync|, 64 B|10 subjects|(JetStream|NSQ|Redis).* 1 in flight|to 100 nodes`),
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	got := written(t)
	if len(got) < 20 {
		t.Errorf("only %d figures", len(got))
	}
	for _, f := range got {
		if strings.HasPrefix(f.NotRun, errMissing.Error()) {
			t.Logf("%s: %s", f.Name, f.NotRun)
			continue
		}
		if f.Median <= 0 || f.Shape != nil && f.P50 <= 0 {
			t.Errorf("%s measured nothing: %v", f.Name, f)
		}
	}
	if left, _ := filepath.Glob("bench-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Real nodes are measured as users run them: with messages that wait, and with a
// log that is forwarded and arrives as it was.
func TestRealNodes(t *testing.T) {
	o := options{rounds: 1, d: 20 * time.Millisecond, json: filepath.Join(t.TempDir(), "bench.json"), waiting: counts{50}, only: regexp.MustCompile(rowForward + "|" + rowIdle)}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.json)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]figure{}
	for _, f := range read(t, b) {
		got[f.Name] = f
	}
	for _, name := range []string{"50 waiting, drained at", "50 waiting, journal compacted", rowForward + ", lines", rowIdle + ", sender", rowIdle + ", receiver"} {
		if got[name].Median <= 0 {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
}

// What is not installed has a row that says so, and the others run.
func TestNotInstalled(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir())
	o := options{rounds: 2, d: 10 * time.Millisecond, json: "bench.json", peers: true, doc: "performance.md", only: regexp.MustCompile("(Redis|fdatasync).* 1 in flight")}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	got := written(t)
	if len(got) != 2 || got[0].Median <= 0 || got[0].NotRun != "" {
		t.Fatalf("figures are %v", got)
	}
	if f := got[1]; f.Median != 0 || !strings.Contains(f.NotRun, "redis-server") {
		t.Errorf("without a redis-server: %v", f)
	}
	page, err := os.ReadFile("performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"| Redis streams, appendfsync always, 1 in flight | could not be run: ", "(performance.svg)", "2 interleaved runs of 10ms"} {
		if !strings.Contains(string(page), s) {
			t.Errorf("the page lacks %q:\n%s", s, page)
		}
	}
	picture, err := os.ReadFile("performance.svg")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(picture, new(struct{})); err != nil {
		t.Errorf("the plot: %v", err)
	}
	if got := strings.Count(string(picture), "<circle"); got != 1 {
		t.Errorf("the plot has %d points, for one figure:\n%s", got, picture)
	}
}

// What this command is compared with is no part of steward.
func TestPeersStayOut(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/steward-bus/steward/cmd/steward").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nsqio/", "redis/", "rabbitmq/"} {
		if strings.Contains(string(out), name) {
			t.Errorf("the steward program links %s", name)
		}
	}
}

// written is what bench.json says.
func written(t *testing.T) []figure {
	t.Helper()
	b, err := os.ReadFile("bench.json")
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b)
}

func read(t *testing.T, b []byte) []figure {
	t.Helper()
	var got struct{ Figures []figure }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	return got.Figures
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
