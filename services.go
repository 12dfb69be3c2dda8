package steward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/metrics"
	"github.com/steward-bus/steward/internal/submit"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// apiBus is the node as the local API sees it.
type apiBus struct{ *Node }

// Submit says the journal's errors in the API's words.
func (b apiBus) Submit(ctx context.Context, ms ...*message.Message) error {
	if err := b.vetAll(ms); err != nil {
		return err
	}
	return told(b.Node.Submit(ctx, ms...))
}

func (b apiBus) vetAll(ms []*message.Message) error {
	for i, m := range ms {
		if err := b.vet(m); err != nil {
			return fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return nil
}

// SubmitOnce is api.Bus's.
func (b apiBus) SubmitOnce(ctx context.Context, s store.Submission, ms ...*message.Message) (earlier []store.Record, err error) {
	if err := b.vetAll(ms); err != nil {
		return nil, err
	}
	ids, err := b.Node.SubmitOnce(ctx, s, ms...)
	for _, id := range ids {
		r, err := b.record(id)
		if errors.Is(err, api.ErrNotFound) {
			r, err = store.Record{ID: id.String(), State: store.Ended}, nil // its history was short
		}
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, r)
	}
	return earlier, told(err)
}

func (n *Node) serveAPI(ctx context.Context) error {
	s := &api.Server{Bus: apiBus{n}, Socket: api.SocketPath(n.cfg.Dir), Version: n.cfg.Version, Log: n.log}
	return s.Run(ctx)
}

func (n *Node) serveMetrics(ctx context.Context) error {
	if n.cfg.Metrics == "" {
		return nil
	}
	s := &metrics.Server{Addr: n.cfg.Metrics, Insecure: n.cfg.Insecure, Metrics: n.metrics, Ready: n.ready, Connected: n.online, Log: n.log}
	if err := s.Listen(); err != nil {
		return err
	}
	n.log.Info("metrics", "address", s.Bound())
	return s.Run(ctx)
}

// ready is why the node cannot accept messages now, or nil.
func (n *Node) ready() error {
	if err := n.db.Fault(); err != nil {
		return err
	}
	if d := n.db.Disk(); d.Full != "" {
		return errors.New(diskFull(d))
	}
	return nil
}

// watchSubmissions takes what is dropped into inmsg.txt and the drop folder.
func (n *Node) watchSubmissions(ctx context.Context) error {
	w := &submit.Watcher{
		File: n.cfg.InMsg, Dir: n.cfg.Dir, Load: n.db.Note, Check: n.vet, Log: n.log,
		Accept: func(ctx context.Context, ms []*message.Message, key string, value []byte) error {
			return n.accept(ctx, ms, true, store.Note{Key: key, Value: value})
		},
		Report: func(err error, path string) {
			if errors.Is(err, store.ErrFull) {
				return // the node tells of that itself
			}
			n.report(errorkernel.Failure{Class: errorkernel.Submission, Severity: errorkernel.Error, Cause: fmt.Sprintf("%v (%s)", err, path)})
		},
	}
	return w.Run(ctx)
}

const (
	sweepEvery = 30 * time.Second
	logSync    = 10 * time.Second // from a write of messages.log to its fsync, at least: the journal has it all
)

// sweep ends what waited beyond its lifetime, forgets old history, and syncs
// messages.log.
func (n *Node) sweep(ctx context.Context) error {
	if err := n.msgs.relog(); err != nil {
		return err
	}
	every, soon := time.NewTicker(sweepEvery), time.NewTimer(time.Hour)
	defer every.Stop()
	defer soon.Stop()
	armed := false
	for {
		select {
		case <-n.msgs.wrote:
			if !armed {
				armed = true
				soon.Reset(logSync)
			}
		case <-soon.C:
			armed = false
			switch err := n.msgs.sync(); {
			case errors.Is(err, store.ErrFull): // that is told, and when there is room it is tried again
				armed = true
				soon.Reset(logSync)
			case err != nil:
				n.report(errorkernel.Failure{Class: errorkernel.Storage, Severity: errorkernel.Error, Cause: err.Error()})
			}
		case <-every.C:
			if err := n.expire(); err != nil && !store.NoRoom(err) { // then the next time
				return err
			}
			for more := true; more && ctx.Err() == nil; {
				var err error
				if more, err = n.db.Prune(time.Now()); store.NoRoom(err) {
					break
				} else if err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

const expireChunk = 10_000

func (n *Node) expire() error {
	found, err := n.db.Expired(time.Now(), expireChunk)
	if err != nil {
		return err
	}
	for s, places := range found {
		ended, err := n.db.GiveUp(s, places, ack.Expired, "its lifetime ended", n.attempts(s))
		if err != nil {
			return told(err)
		}
		n.settled(ended)
	}
	return nil
}
