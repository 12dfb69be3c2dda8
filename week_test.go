package steward_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// wireTo is the wire between a node and the broker; cut takes the node out of range.
type wireTo struct {
	s     *server.Server
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wireTo) InProcessConn() (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("out of range")
	}
	c, err := w.s.InProcessConn()
	w.conns = append(w.conns, c)
	return c, err
}

func (w *wireTo) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down = down; down {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

// running is a node with the means to stop it.
type running struct {
	*steward.Node
	cancel context.CancelFunc
	done   chan error
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// TestAWeekOutOfRange: a hundred commands wait six days for a node whose link is
// cut, the sender is restarted meanwhile, and every ack of the first delivery is
// lost with the link: each runs once, in order, and is done.
func TestAWeekOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		if !s.ReadyForConnections(time.Second) {
			t.Fatal("broker not ready")
		}
		links := map[string]*wireTo{"central": {s: s}, "ship1": {s: s}}
		dirs := map[string]string{"central": t.TempDir(), "ship1": t.TempDir()}
		var mu sync.Mutex
		var ran []string
		start := func(name string) *running {
			n, err := steward.New(steward.Config{Name: name, Dir: dirs[name], Central: "central", Headless: true, Options: []nats.Option{nats.InProcessServer(links[name])}})
			if err != nil {
				t.Fatal(err)
			}
			err = n.Handle(process.Method{Name: "Count", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
				mu.Lock()
				ran = append(ran, m.Data[0])
				mu.Unlock()
				links["ship1"].set(true) // what is on its way now, acks and results, is lost
				time.AfterFunc(time.Duration(len(ran)%7)*time.Minute, func() { links["ship1"].set(false) })
				return message.Result{Outcome: ack.Done}
			})})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			r := &running{n, cancel, make(chan error, 1)}
			go func() { r.done <- n.Run(ctx) }()
			return r
		}
		central, ship := start("central"), start("ship1")
		time.Sleep(time.Minute)
		links["ship1"].set(true)
		const count = 100
		ids := make([]string, count)
		for i := range count {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Count", Data: []string{strconv.Itoa(i)}, Expires: time.Now().Add(30 * 24 * time.Hour)}
			if err := central.Submit(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			ids[i] = m.ID.String()
		}
		time.Sleep(24 * time.Hour)
		central.stop(t)
		central = start("central")
		time.Sleep(5 * 24 * time.Hour)
		links["ship1"].set(false)
		ctx, cancel := context.WithTimeout(t.Context(), 7*24*time.Hour)
		defer cancel()
		for i, id := range ids {
			if r, err := central.Wait(ctx, id); err != nil || r.Outcome != ack.Done {
				t.Fatalf("message %d: %s %s, %v", i, r.Outcome, r.Reason, err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(ran) != count {
			t.Fatalf("%d runs of %d commands", len(ran), count)
		}
		for i, d := range ran {
			if d != strconv.Itoa(i) {
				t.Fatalf("run %d was of command %s", i, d)
			}
		}
		central.stop(t)
		ship.stop(t)
		s.Shutdown()
		s.WaitForShutdown()
	})
}
