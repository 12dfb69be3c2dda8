// Command bench measures steward beside what it is to be judged by: one bbolt
// transaction of the same bytes, and JetStream that syncs always, doing the same
// work. All cases run interleaved in one process tree; the figures are medians.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

const size = 512 // bytes of a message's data

// figure is one row of the table: the median of runs.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func main() {
	rounds := flag.Int("rounds", 5, "runs of each case")
	d := flag.Duration("d", 3*time.Second, "of each run")
	backlog := flag.Int("backlog", 1_000_000, "messages that wait for a node that is not there")
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as steward run does, and for all cases alike
	}
	if err := run(*rounds, *d, *backlog); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(rounds int, d time.Duration, backlog int) error {
	dir, err := os.MkdirTemp(".", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	filled := filepath.Join(dir, "filled")
	if err := fill(filled, backlog); err != nil {
		return fmt.Errorf("fill the backlog: %w", err)
	}
	cases := []struct {
		name, unit string
		run        func(dir string, d time.Duration) (float64, error)
	}{
		{"one bbolt Update of 512 B, p50", "µs", boltUpdate},
		{"steward, one at a time, p50", "µs", func(dir string, d time.Duration) (float64, error) { return stewardRun(dir, d, 1, true) }},
		{"steward, 256 in flight", "/s", func(dir string, d time.Duration) (float64, error) { return stewardRun(dir, d, 256, false) }},
		{fmt.Sprintf("steward, 256 in flight, %d waiting", backlog), "/s", func(_ string, d time.Duration) (float64, error) { return stewardRun(filled, d, 256, false) }},
		{"JetStream SyncAlways, 256 in flight", "/s", func(dir string, d time.Duration) (float64, error) { return jetStream(dir, d, 256) }},
	}
	values := make([][]float64, len(cases))
	for round := range rounds {
		for i, c := range cases {
			sub := filepath.Join(dir, fmt.Sprintf("%d-%d", round, i))
			if err := os.MkdirAll(sub, 0o700); err != nil {
				return err
			}
			v, err := c.run(sub, d)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			values[i] = append(values[i], v)
			if err := os.RemoveAll(sub); err != nil {
				return err
			}
		}
	}
	figures := make([]figure, len(cases))
	for i, c := range cases {
		slices.Sort(values[i])
		figures[i] = figure{c.name, c.unit, values[i][len(values[i])/2], values[i][0], values[i][len(values[i])-1]}
		fmt.Printf("%-42s %12.0f %-3s (%.0f to %.0f)\n", c.name, figures[i].Median, c.unit, figures[i].Min, figures[i].Max)
	}
	more, err := processes(dir, filled)
	if err != nil {
		return err
	}
	for _, f := range more {
		fmt.Printf("%-42s %12.0f %s\n", f.Name, f.Median, f.Unit)
	}
	ratios := []struct {
		Name  string  `json:"name"`
		Ratio float64 `json:"ratio"`
		bar   string
	}{
		{"one at a time / bbolt Update", figures[1].Median / figures[0].Median, "at most 5"},
		{"256 in flight / JetStream SyncAlways", figures[2].Median / figures[4].Median, "at least 10"},
		{"256 in flight with the backlog / without", figures[3].Median / figures[2].Median, "at least 0.9"},
	}
	for _, r := range ratios {
		fmt.Printf("%-42s %12.2f     (bar: %s)\n", r.Name, r.Ratio, r.bar)
	}
	out, err := json.MarshalIndent(map[string]any{
		"time": time.Now().UTC(), "go": runtime.Version(), "cpus": runtime.NumCPU(), "rounds": rounds, "backlog": backlog,
		"figures": append(figures, more...), "ratios": ratios,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile("bench.json", append(out, '\n'), 0o644)
}

func boltUpdate(dir string, d time.Duration) (v float64, err error) {
	db, err := bolt.Open(filepath.Join(dir, "b.db"), 0o600, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var took []time.Duration
	value := make([]byte, size)
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		began := time.Now()
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return b.Put(fmt.Appendf(nil, "%020d", i), value)
		})
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return micros(took), nil
}

func micros(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2]) / float64(time.Microsecond)
}

// loop lets clients call f until d has passed; it returns the median time of a
// call in µs, or the rate.
func loop(d time.Duration, clients int, p50 bool, f func() error) (float64, error) {
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	var group sync.WaitGroup
	var count atomic.Int64
	began := time.Now()
	for range clients {
		group.Go(func() {
			for time.Since(began) < d {
				at := time.Now()
				err := f()
				count.Add(1)
				mu.Lock()
				if p50 {
					took = append(took, time.Since(at))
				}
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	if p50 {
		return micros(took), nil
	}
	return float64(count.Load()) / time.Since(began).Seconds(), nil
}

// broker is one on loopback, at a port of its own.
func broker(opts server.Options) (*server.Server, error) {
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the broker is not ready")
	}
	return s, nil
}

// stewardRun: two nodes, two journals on this disk, an embedded broker; a call is
// Submit of an Echo until its outcome is durable at the sender.
func stewardRun(dir string, d time.Duration, clients int, p50 bool) (v float64, err error) {
	s, err := broker(server.Options{})
	if err != nil {
		return 0, err
	}
	defer s.Shutdown()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	var central *steward.Node
	for _, name := range []string{"ship1", "central"} {
		n, err := steward.New(steward.Config{Name: name, Dir: filepath.Join(dir, name), Brokers: []string{s.ClientURL()}, Central: "central", Headless: true})
		if err != nil {
			cancel()
			return 0, err
		}
		go func() { done <- n.Run(ctx) }()
		central = n
	}
	defer func() {
		cancel()
		err = errors.Join(err, <-done, <-done)
	}()
	data := []string{strings.Repeat("x", size)}
	call := func() error {
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: data}
		r, err := central.Do(ctx, m)
		if err == nil && r.Outcome != ack.Done {
			err = fmt.Errorf("message %s is %s: %s", r.ID, r.Outcome, r.Reason)
		}
		return err
	}
	if err := call(); err != nil { // both are there
		return 0, err
	}
	return loop(d, clients, p50, call)
}

// jetStream does the same work with two streams that sync each message.
func jetStream(dir string, d time.Duration, clients int) (float64, error) {
	s, err := broker(server.Options{JetStream: true, SyncAlways: true, StoreDir: dir})
	if err != nil {
		return 0, err
	}
	defer s.Shutdown()
	ctx := context.Background()
	ends := make([]jetstream.JetStream, 2)
	consumers := make([]jetstream.Consumer, 2)
	for i, name := range []string{"COMMANDS", "RESULTS"} {
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		if ends[i], err = jetstream.New(nc); err != nil {
			return 0, err
		}
		stream, err := ends[i].CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Retention: jetstream.WorkQueuePolicy})
		if err != nil {
			return 0, err
		}
		if consumers[i], err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10000}); err != nil {
			return 0, err
		}
	}
	var waiting sync.Map
	receiver, err := consumers[0].Consume(func(m jetstream.Msg) {
		f, err := ends[1].PublishAsync("RESULTS.x", m.Data())
		if err != nil {
			return
		}
		go func() {
			<-f.Ok()
			_ = m.Ack()
		}()
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return 0, err
	}
	defer receiver.Stop()
	sender, err := consumers[1].Consume(func(m jetstream.Msg) {
		_ = m.Ack()
		if c, ok := waiting.LoadAndDelete(string(m.Data()[:16])); ok {
			close(c.(chan struct{}))
		}
	}, jetstream.PullMaxMessages(4096))
	if err != nil {
		return 0, err
	}
	defer sender.Stop()
	var seq atomic.Uint64
	return loop(d, clients, false, func() error {
		m := fmt.Appendf(make([]byte, 0, size), "%016d", seq.Add(1))
		c := make(chan struct{})
		waiting.Store(string(m), c)
		if _, err := ends[0].Publish(ctx, "COMMANDS.x", m[:size]); err != nil {
			return err
		}
		select {
		case <-c:
			return nil
		case <-time.After(30 * time.Second):
			return errors.New("no answer within 30s")
		}
	})
}
