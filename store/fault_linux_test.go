package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// road is a sender's journal with messages for central, and central's own.
type road struct {
	ship1, central *store.DB
	path           string // of central's
	subject        subject.Subject
}

func newRoad(t *testing.T) *road {
	t.Helper()
	dir := t.TempDir()
	r := &road{path: filepath.Join(dir, "central.db")}
	r.subject = subject.Subject{Prefix: subject.Prefix, Node: "central", Kind: subject.CommandACK, Method: "Echo"}
	r.central = openJournal(t, r.path, store.Options{})
	var err error
	if r.ship1, err = store.Open(filepath.Join(dir, "ship1.db"), store.Options{Node: "ship1", MinFree: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.ship1.Close() })
	return r
}

// batch is what ship1 sends next: n more commands.
func (r *road) batch(t *testing.T, n int) store.Batch {
	t.Helper()
	b := store.Batch{Subject: r.subject, From: "ship1", For: r.central.ID(), Epoch: r.ship1.Epoch()}
	for i := range n {
		m := &message.Message{ToNode: "central", Kind: r.subject.Kind, Method: r.subject.Method, Data: []string{fmt.Sprint(i)}}
		r.ship1.Fresh(m, time.Now())
		if err := r.ship1.Accept(t.Context(), []*message.Message{m}, false); err != nil {
			t.Fatal(err)
		}
		event, err := m.Encode(subject.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		d, err := message.Decode(event, r.subject)
		if err != nil {
			t.Fatal(err)
		}
		b.Items = append(b.Items, store.Item{Decoded: d, Event: event})
	}
	return b
}

// steps is one of each kind of durable step. None of them may succeed on a disk
// that does not keep what is written.
func (r *road) steps(t *testing.T) map[string]func() error {
	t.Helper()
	lane := store.Lane{From: "ship1", Subject: r.subject}
	work, err := r.central.Inbox(lane, message.Place{}, 10)
	if err != nil || len(work) == 0 {
		t.Fatalf("%d in the inbox, %v", len(work), err)
	}
	out := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	sent, err := r.central.Next(out, message.Place{}, 10, 1<<20)
	if err != nil || len(sent.Entries) == 0 {
		t.Fatalf("%d in the outbox, %v", len(sent.Entries), err)
	}
	e, k := sent.Entries[0], work[0]
	more := r.batch(t, 2)
	return map[string]func() error{
		"accept": func() error {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"too late"}}
			r.central.Fresh(m, time.Now())
			return r.central.Accept(t.Context(), []*message.Message{m}, true, store.Note{Key: "read", Value: []byte("100")})
		},
		"receive": func() error {
			got, err := r.central.Receive(more)
			if err == nil {
				return fmt.Errorf("answered %+v", got.Replies)
			}
			return err
		},
		"acked": func() error {
			return r.central.Acked(out, []store.Answer{{ID: e.ID, Place: e.Place, Ack: ack.Ack{Verdict: ack.Rejected}}}, false, nil)
		},
		"give up": func() error {
			_, err := r.central.GiveUp(out, []message.Place{e.Place}, ack.Cancelled, "for the test", func(message.Place) int { return 0 })
			return err
		},
		"started": func() error { _, err := r.central.Started(lane, k.Place); return err },
		"finish": func() error {
			return r.central.Finish(lane, []store.Finished{{Work: k, Result: message.Result{Outcome: ack.Done}}})
		},
		"met":     func() error { _, err := r.central.Met(out, r.ship1.ID()); return err },
		"failure": func() error { return r.central.PutFailure("f1", []byte("{}")) },
	}
}

// fill gives central three messages to send and three to handle.
func (r *road) fill(t *testing.T) {
	t.Helper()
	stewardtest.Ballast(t, r.central)
	accepted(t, r.central, 3, 0)
	got, err := r.central.Receive(r.batch(t, 3))
	if err != nil || got.New != 3 {
		t.Fatalf("%d received, %v", got.New, err)
	}
}

// known is all that a journal knows of messages and notes.
func known(t *testing.T, db *store.DB) string {
	t.Helper()
	list, err := db.Records(store.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, x := range list {
		fmt.Fprintln(&b, x.ID, x.FromNode, x.ToNode, len(x.Data[0]), x.State, x.Outcome, x.Seq)
	}
	note, err := db.Note("read")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%+v %q", db.Counts(), note)
	return b.String()
}

// After an fsync that failed nobody knows what the disk holds: nothing is
// acknowledged any more, also not when the disk seems well again, and the next
// opening finds what was acknowledged before and nothing else.
func TestFailedSync(t *testing.T) {
	r := newRoad(t)
	r.fill(t)
	want := known(t, r.central)
	before, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	steps := r.steps(t)
	heal := stewardtest.BreakDisk(t, r.path, stewardtest.NoSync)
	check := func(when string) {
		t.Helper()
		var group sync.WaitGroup
		for name, step := range steps {
			group.Go(func() {
				err := step()
				if !errors.Is(err, store.ErrBroken) || !errors.Is(err, syscall.EINVAL) {
					t.Errorf("%s, %s: %v", name, when, err)
				} else if text := err.Error(); !strings.Contains(text, r.path) || !strings.Contains(text, "start steward again") {
					t.Errorf("%s, %s: it says neither which file nor what to do: %v", name, when, err)
				}
			})
		}
		group.Wait()
		if got := known(t, r.central); got != want {
			t.Errorf("%s it knows\n%s\nand before\n%s", when, got, want)
		}
	}
	check("while fsync fails")
	select {
	case <-r.central.Broken():
	default:
		t.Error("the journal does not say that it is broken")
	}
	heal()
	check("once fsync works again")
	if err := r.central.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(r.path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file was written to after the fsync failed: %v", err)
	}
	r.central = openJournal(t, r.path, store.Options{})
	defer r.central.Close()
	if got := known(t, r.central); got != want {
		t.Errorf("opened again it knows\n%s\nand before\n%s", got, want)
	}
}

// A disk without room refuses each step and keeps nothing of it; when there is
// room, the same steps succeed, without a restart.
func TestNoRoomToWrite(t *testing.T) {
	r := newRoad(t)
	r.fill(t)
	want := known(t, r.central)
	steps := r.steps(t)
	heal := stewardtest.BreakDisk(t, r.path, stewardtest.NoRoom)
	for name, step := range steps {
		if err := step(); !errors.Is(err, store.ErrFull) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := known(t, r.central); got != want {
		t.Errorf("without room it knows\n%s\nand before\n%s", got, want)
	}
	heal()
	for name, step := range steps {
		if err := step(); err != nil && name != "receive" || name == "receive" && !strings.HasPrefix(fmt.Sprint(err), "answered ") {
			t.Errorf("%s, with room again: %v", name, err)
		}
	}
	if c := r.central.Counts(); c != (store.Counts{Waiting: 3, Inbox: 4}) {
		t.Errorf("counts %+v", c)
	}
	want = known(t, r.central)
	if err := r.central.Close(); err != nil {
		t.Fatal(err)
	}
	r.central = openJournal(t, r.path, store.Options{})
	defer r.central.Close()
	if got := known(t, r.central); got != want {
		t.Errorf("opened again it knows\n%s\nand before\n%s", got, want)
	}
}

// Acks that nobody waits for are kept in the order in which they came, also
// those that found no room at first: the numbers of a subject rest on it.
func TestAcksThatFoundNoRoomKeepTheirOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	var db *store.DB
	var second sync.Once
	failed := make(chan struct{})
	var give func(n int)
	db = openJournal(t, path, store.Options{Observe: func(int, time.Duration) {
		select {
		case <-failed:
		default:
			return
		}
		second.Do(func() { give(1) }) // after the first one failed, and before it is tried again
	}})
	defer db.Close()
	accepted(t, db, 3, 0)
	s := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"}
	out, err := db.Next(s, message.Place{}, 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	entries := out.Entries
	kept := make(chan int, len(entries))
	give = func(n int) {
		a := store.Answer{ID: entries[n].ID, Place: entries[n].Place, Ack: ack.Ack{Verdict: ack.Accepted}}
		if err := db.Acked(s, []store.Answer{a}, true, func([]store.Settled) { kept <- n }); err != nil {
			t.Error(err)
		}
	}
	heal := stewardtest.BreakDisk(t, path, stewardtest.NoRoom)
	close(failed)
	give(0)
	if err := db.PutFailure("f1", []byte("{}")); !errors.Is(err, store.ErrFull) {
		t.Errorf("a commit without room: %v", err)
	}
	heal()
	if first, then := <-kept, <-kept; first != 0 || then != 1 {
		t.Errorf("kept in the order %d, %d", first, then)
	}
	if c := db.Counts(); c != (store.Counts{Waiting: 1, Awaiting: 2}) {
		t.Errorf("counts %+v", c)
	}
}

// On a full disk there is nothing more to forget: whoever prunes does not go round
// and round.
func TestPruneOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db := openJournal(t, path, store.Options{HistoryCount: 1})
	defer db.Close()
	accepted(t, db, 3000, 3000)
	stewardtest.Ballast(t, db)
	heal := stewardtest.BreakDisk(t, path, stewardtest.NoRoom)
	if more, err := db.Prune(time.Now()); more || !errors.Is(err, store.ErrFull) {
		t.Errorf("more %t, %v", more, err)
	}
	heal()
	if more, err := db.Prune(time.Now()); !more || err != nil {
		t.Errorf("with room again: more %t, %v", more, err)
	}
}
