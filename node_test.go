package steward_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func TestRoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		if !s.ReadyForConnections(time.Second) {
			t.Fatal("broker not ready")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		var ran atomic.Int64
		start := func(name string) *steward.Node {
			n, err := steward.New(steward.Config{Name: name, Dir: t.TempDir(), Central: "central", Headless: true, Options: []nats.Option{nats.InProcessServer(s)}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			if err != nil {
				t.Fatal(err)
			}
			err = n.Handle(process.Method{Name: "Count", Kinds: []subject.Kind{subject.CommandACK}, Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result {
				ran.Add(1)
				return message.Result{Outcome: ack.Done, Stdout: message.Text("counted")}
			})})
			if err != nil {
				t.Fatal(err)
			}
			go func() { done <- n.Run(ctx) }()
			return n
		}
		c := start("central")
		start("ship1")
		for _, to := range []string{"ship1", "central", "ship1"} {
			m := &message.Message{ToNode: to, Kind: subject.CommandACK, Method: "Count"}
			if err := c.Submit(ctx, m); err != nil {
				t.Fatal(err)
			}
			wctx, stop := context.WithTimeout(ctx, time.Minute)
			r, err := c.Wait(wctx, m.ID.String())
			stop()
			if err != nil || r.Outcome != ack.Done || string(r.Result.Stdout) != "counted" || r.State != store.Ended {
				t.Fatalf("%+v %v", r, err)
			}
		}
		if ran.Load() != 3 {
			t.Errorf("ran %d", ran.Load())
		}
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		s.Shutdown()
		s.WaitForShutdown()
	})
}
