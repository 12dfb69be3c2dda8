package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/submit"
	"github.com/steward-bus/steward/store"
)

// What is kept in the folder of results, which the journal has all, and of texts
// that were refused.
const (
	resultsKept  = 10_000
	resultsAgain = 10 * time.Second // what found no room is written again
	rejectedKept = 10_000
)

// writeResults keeps results/<id>.json of what came by file up to date.
func (n *Node) writeResults(ctx context.Context, results submit.Results) error {
	if err := n.staleResults(results); err != nil {
		return err
	}
	prune := time.NewTicker(time.Minute)
	defer prune.Stop()
	var room <-chan time.Time // for what found none
	var err error
	for {
		select {
		case <-n.filesWake:
			if room, err = n.putResults(results); err != nil {
				return err
			}
		case <-room:
			if room, err = n.putResults(results); err != nil {
				return err
			}
		case <-prune.C:
			if err := results.Prune(resultsKept); err != nil {
				return err
			}
			if err := n.pruneRejected(); err != nil {
				return err
			}
		case <-ctx.Done():
			_, err := n.putResults(results)
			return err
		}
	}
}

// staleResults finds what a crash left unwritten: receipts of the newest messages,
// and outcomes of those that have a receipt.
func (n *Node) staleResults(results submit.Results) error {
	written, err := results.Written()
	if err != nil {
		return err
	}
	newest, err := n.db.NewestByFile(resultsKept)
	if err != nil {
		return err
	}
	for _, id := range newest {
		if _, there := written[id.String()]; !there {
			n.changed([]store.Change{{ID: id, ByFile: true}})
		}
	}
	for name, at := range written {
		id, err := uuid.Parse(name)
		if err != nil {
			continue // not ours
		}
		r, err := n.record(id)
		if err == nil && r.EndedAt.After(at) {
			n.changed([]store.Change{{ID: id, ByFile: true}})
		}
	}
	return nil
}

// queueResult has the file of id written, and does not let the queue grow beyond
// twice what is kept: of more, the oldest would be deleted as soon as they are
// written. n.mu is held.
func (n *Node) queueResult(id uuid.UUID) {
	if n.files[id] = true; len(n.files) <= 2*resultsKept {
		return
	}
	ids := slices.SortedFunc(maps.Keys(n.files), compareIDs)
	for _, id := range ids[:len(ids)-resultsKept] {
		delete(n.files, id)
	}
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// putResults writes what is to be written, the newest messages last. What finds no
// room waits for the next time, which room tells.
func (n *Node) putResults(results submit.Results) (room <-chan time.Time, err error) {
	n.mu.Lock()
	ids := slices.SortedFunc(maps.Keys(n.files), compareIDs)
	n.files = map[uuid.UUID]bool{}
	n.mu.Unlock()
	for _, id := range ids {
		r, err := n.record(id)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrClosed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := results.Put(r.ID, r); err != nil {
			n.report(errorkernel.Failure{Class: errorkernel.Storage, Severity: errorkernel.Warning, Message: r.ID, Cause: err.Error()})
			if store.NoRoom(err) {
				n.mu.Lock()
				n.queueResult(id)
				n.mu.Unlock()
				room = time.After(resultsAgain)
			}
		}
	}
	if n.resultsPut += len(ids); n.resultsPut > resultsKept { // do not wait for the ticker
		n.resultsPut = 0
		err = results.Prune(resultsKept)
	}
	return room, err
}

func (n *Node) pruneRejected() error {
	deleted, err := submit.PruneRejected(n.cfg.Dir, rejectedKept)
	if deleted > 0 {
		n.report(errorkernel.Failure{
			Class: errorkernel.Submission, Severity: errorkernel.Warning,
			Cause: fmt.Sprintf("rejected/ had more than %d texts: the %d that were refused longest ago are deleted", rejectedKept, deleted),
		})
	}
	return err
}
