package metrics_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs s until the test ends and returns a getter of its pages.
func serve(t *testing.T, s *metrics.Server) func(path string) (int, string) {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Bound()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s.Bound() != "" {
			t.Errorf("still bound to %s after Run", s.Bound())
		}
	})
	return func(path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
}

func TestCountsAreServed(t *testing.T) {
	var connected atomic.Bool
	m := metrics.New("1.2.3", metrics.Sources{
		Waiting:         func() float64 { return 7 },
		AwaitingResult:  func() float64 { return 3 },
		Inbox:           func() float64 { return 2 },
		Processes:       func() float64 { return 5 },
		BrokerConnected: connected.Load,
		DiskFree:        func() float64 { return 1 << 30 },
	})
	m.Accepted(3)
	m.Ended(ack.Done)
	m.Ended("from another version")
	m.Retried()
	m.Sent(4)
	m.Committed(2*time.Millisecond, 16)
	m.Failed(errorkernel.Storage, errorkernel.Critical)
	m.Failed("from another node", "from another node")
	get := serve(t, &metrics.Server{Addr: "127.0.0.1:0", Metrics: m})

	status, page := get("/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for _, line := range []string{
		`steward_messages_accepted_total 3`,
		`steward_messages_ended_total{outcome="done"} 1`,
		`steward_messages_ended_total{outcome="unknown"} 0`,
		`steward_messages_ended_total{outcome="other"} 1`,
		`steward_publish_retries_total 1`,
		`steward_batch_messages_sum 4`,
		`steward_commit_seconds_count 1`,
		`steward_commit_operations_sum 16`,
		`steward_failures_total{class="storage",severity="critical"} 1`,
		`steward_failures_total{class="other",severity="other"} 1`,
		`steward_backlog_messages{queue="waiting"} 7`,
		`steward_backlog_messages{queue="awaiting_result"} 3`,
		`steward_backlog_messages{queue="inbox"} 2`,
		`steward_processes 5`,
		`steward_broker_connected 0`,
		`steward_disk_free_bytes 1.073741824e+09`,
		`steward_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	connected.Store(true)
	if _, page = get("/metrics"); !strings.Contains(page, "\nsteward_broker_connected 1\n") {
		t.Error("the connection is not asked for at each scrape")
	}
}

func TestTwoRegistriesDoNotMeet(t *testing.T) {
	a, b := metrics.New("1", metrics.Sources{}), metrics.New("1", metrics.Sources{})
	a.Accepted(1)
	get := serve(t, &metrics.Server{Addr: "127.0.0.1:0", Metrics: b})
	if _, page := get("/metrics"); !strings.Contains(page, "\nsteward_messages_accepted_total 0\n") {
		t.Error("b counts what a accepted")
	}
}

func TestNilAndZeroAreQuiet(t *testing.T) {
	for name, m := range map[string]*metrics.Metrics{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			m.Accepted(1)
			m.Ended(ack.Done)
			m.Retried()
			m.Sent(1)
			m.Committed(time.Second, 1)
			m.Failed(errorkernel.Storage, errorkernel.Error)
			get := serve(t, &metrics.Server{Addr: "127.0.0.1:0", Metrics: m})
			if status, page := get("/metrics"); status != http.StatusOK || page != "" {
				t.Errorf("got %d %q", status, page)
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	var writable, connected atomic.Bool
	get := serve(t, &metrics.Server{
		Addr: "127.0.0.1:0",
		Ready: func() error {
			if !writable.Load() {
				return errors.New("disk full")
			}
			return nil
		},
		Connected: connected.Load,
	})
	if status, page := get("/healthz"); status != http.StatusOK || page != "ok\n" {
		t.Errorf("/healthz: %d %q", status, page)
	}
	if status, page := get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(page, "disk full") {
		t.Errorf("store not writable: %d %q", status, page)
	}
	writable.Store(true)
	status, page := get("/readyz")
	if status != http.StatusOK || !strings.HasPrefix(page, "ok\n") || !strings.Contains(page, "not connected") {
		t.Errorf("offline: %d %q", status, page)
	}
	connected.Store(true)
	if status, page := get("/readyz"); status != http.StatusOK || !strings.Contains(page, "broker: connected") {
		t.Errorf("online: %d %q", status, page)
	}
}

func TestAddresses(t *testing.T) {
	taken, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		err := (&metrics.Server{Addr: addr}).Run(t.Context())
		if !errors.Is(err, metrics.ErrExposed) {
			t.Errorf("%s: got %v, want ErrExposed", addr, err)
		}
	}
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:http-nonsense", taken.Addr().String()} {
		if err := (&metrics.Server{Addr: addr}).Run(t.Context()); err == nil {
			t.Errorf("%q: Run took it", addr)
		}
	}
	get := serve(t, &metrics.Server{Addr: "0.0.0.0:0", Insecure: true})
	if status, _ := get("/healthz"); status != http.StatusOK {
		t.Errorf("insecure: status %d", status)
	}
}
