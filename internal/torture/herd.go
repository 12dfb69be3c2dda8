package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/fleet"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// herd is many light receivers, each with a connection of its own: they all come back
// at once when a broker does.
type herd struct {
	dir   string
	conns []*transport.Conn
	ships []*fleet.Ship
}

func gull(i int) string { return fmt.Sprintf("gull%d", i) }

// startHerd starts n of them. The broker may come later.
func startHerd(broker string, n int) (h *herd, err error) {
	h = new(herd)
	if h.dir, err = os.MkdirTemp("/dev/shm", "torture-herd-"); err != nil {
		return nil, err
	}
	for i := range n {
		conn, err := transport.Dial(transport.Config{URLs: broker, Name: gull(i)})
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.conns = append(h.conns, conn)
		s, err := fleet.Start(gull(i), h.dir, conn, echo(), func(error) {}) // what comes of it is judged
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.ships = append(h.ships, s)
	}
	return h, nil
}

// Close ends them.
func (h *herd) Close() error {
	var wait sync.WaitGroup
	ends := make([]error, len(h.ships))
	for i, s := range h.ships {
		wait.Go(func() { ends[i] = s.Close() })
	}
	wait.Wait()
	for _, c := range h.conns {
		c.Close()
	}
	return errors.Join(append(ends, os.RemoveAll(h.dir))...)
}

// echo is Echo. It may be run again, and nobody counts how often: outcomes and
// results are looked at.
func echo() process.Method {
	return process.Method{
		Name: "Echo", Kinds: []subject.Kind{subject.CommandACK}, Repeatable: true, Instant: true,
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			now, out := time.Now(), []byte(strings.Join(m.Data, "\n"))
			return message.Result{Outcome: ack.Done, Stdout: out, StdoutBytes: int64(len(out)), StartedAt: now, EndedAt: now}
		}),
	}
}

// call submits a command for each of the herd, in one document.
func (r *round) call(ctx context.Context, phase int) {
	var doc bytes.Buffer
	list := make([]*receipt, r.plan.Herd)
	for i := range list {
		o := Order{Key: fmt.Sprintf("r%d-%d-%d", r.plan.Round, lanes+phase, i), Lane: lanes + phase, Way: byAPI, To: gull(i), Kind: subject.CommandACK, Method: "Echo"}
		list[i] = &receipt{Order: o, from: time.Now()}
		doc.Write(o.document(r.exe, r.dir))
	}
	c, err := r.nodes[central].client(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	records, err := c.SubmitDocument(ctx, doc.Bytes())
	for i, rc := range list {
		rc.handed, rc.doubt, rc.till = err == nil, err != nil, time.Now()
		if err == nil {
			rc.id = records[i].ID
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receipts = append(r.receipts, list...)
}

// callHerd calls it again and again while things go wrong.
func (r *round) callHerd(ctx context.Context) {
	for phase := range herdCalls {
		r.call(ctx, phase)
		if !sleep(ctx, herdPause) {
			return
		}
	}
}

// Of a herd.
const (
	herdCalls = 4
	herdPause = time.Second
)
