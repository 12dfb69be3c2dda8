package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

// receipt is what a submitter knows of its order.
type receipt struct {
	Order
	id      string // that it was told; by file nobody is told any
	handed  bool   // it was told that the message is durable, or its file was before a node could see it
	doubt   bool   // nobody answered: it may be accepted
	refused string // why it was not accepted
	again   bool   // it was too old, or too new, for the node's clock, and was submitted once more
	from    time.Time
	till    time.Time
}

// submit hands over the orders of a lane, one after the other.
func (r *round) submit(ctx context.Context, lane int) {
	began := time.Now()
	var spoiled error // a half of something stands in inmsg.txt, and what is appended is a part of it
	for _, o := range r.plan.Orders {
		if o.Lane != lane {
			continue
		}
		if !sleep(ctx, max(o.Pause, o.At-time.Since(began))) {
			return
		}
		rc, life := &receipt{Order: o, from: time.Now()}, r.nodes[central].life()
		doc := o.document(r.exe, r.dir)
		inmsg := filepath.Join(r.nodes[central].dir, "inmsg.txt")
		switch o.Way {
		case byAPI:
			r.byAPI(ctx, rc, doc)
		case byDrop:
			rc.take(drop(filepath.Join(r.nodes[central].dir, "submit"), o.Key, doc))
		case byInMsg:
			rc.take(errors.Join(spoiled, appendTo(inmsg, doc)))
		case byHalves:
			first := time.Now()
			err := appendTo(inmsg, doc[:len(doc)/2])
			if err == nil && sleep(ctx, 30*time.Millisecond) {
				err = appendTo(inmsg, doc[len(doc)/2:])
			}
			if err == nil && time.Since(first) > patientWriter {
				err = errSlow
			}
			rc.take(errors.Join(spoiled, err))
		}
		if o.Way != byAPI && r.nodes[central].life() != life {
			rc.take(errDied)
		}
		if rc.doubt && (o.Way == byInMsg || o.Way == byHalves) {
			spoiled = errSpoiled
		}
		rc.till = time.Now()
		r.mu.Lock()
		r.receipts = append(r.receipts, rc)
		r.mu.Unlock()
	}
}

// patientWriter is how long the half of a message may surely wait for the other
// half; this machine may be busy.
const patientWriter = 5 * time.Second

var (
	errDied    = errors.New("a writer on that machine would have died with it")
	errSlow    = errors.New("the second half came too late")
	errSpoiled = errors.New("an earlier writer left half of something")
)

// take notes how handing over a file went.
func (rc *receipt) take(err error) { rc.handed, rc.doubt = err == nil, err != nil }

// byAPI submits until somebody answers, or nobody can tell whether somebody would
// have.
func (r *round) byAPI(ctx context.Context, rc *receipt, doc []byte) {
	n := r.nodes[central]
	for ctx.Err() == nil {
		c, err := n.client(ctx)
		if err != nil {
			return
		}
		records, err := c.SubmitDocument(ctx, doc)
		switch problem, told := errors.AsType[*api.Problem](err); {
		case err == nil:
			rc.id, rc.handed = records[0].ID, true
			if rc.Cancel > 0 && sleep(ctx, rc.Cancel) {
				_, _ = c.Cancel(ctx, rc.id) // what became of it, history tells
			}
		case told && strings.Contains(problem.Error(), store.ErrKey.Error()): // our clock and the node's are not the same
			rc.again = true
			c.Close()
			sleep(ctx, 30*time.Millisecond)
			continue
		case api.Away(err), told && problem.Status == http.StatusInternalServerError:
			rc.doubt = true
		case told && problem.Status < http.StatusInternalServerError:
			rc.refused = problem.Error()
		default: // nobody there, or no room: nothing of it was accepted
			c.Close()
			sleep(ctx, 30*time.Millisecond)
			continue
		}
		c.Close()
		return
	}
}

// drop renames a durable file into the drop folder, durably.
func drop(dir, key string, doc []byte) error {
	tmp := filepath.Join(dir, "."+key+".part")
	if err := writeSynced(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, doc); err != nil {
		return err
	}
	name := fmt.Sprintf("%d-%s.json", time.Now().UnixNano(), key)
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// appendTo adds to a file, durably.
func appendTo(path string, text []byte) error {
	if err := writeSynced(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, text); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, flags int, text []byte) error {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
