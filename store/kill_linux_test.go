package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const (
	busyRoutines = 4
	busyBatch    = 5 // messages that one of them has under way at most
)

// busyProcess accepts messages and cancels some, on several goroutines, and says of
// each step how many messages began to wait with it. It never ends by itself.
func busyProcess(path string) error {
	db, err := store.Open(path, store.Options{Node: "central", MinFree: 1, HistoryCount: 50})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range busyRoutines {
		go func() {
			for {
				if err := busyStep(db, fmt.Sprint("ship", i)); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

func busyStep(db *store.DB, to string) error {
	ms := make([]*message.Message, 1+rand.IntN(busyBatch))
	var places []message.Place
	for i := range ms {
		ms[i] = &message.Message{ToNode: to, Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
		db.Fresh(ms[i], time.Now())
	}
	if err := db.Accept(context.Background(), ms, false); err != nil {
		return err
	}
	fmt.Println(len(ms))
	for _, m := range ms[rand.IntN(len(ms)):] {
		places = append(places, m.Place)
	}
	if _, err := db.GiveUp(ms[0].Subject(subject.Prefix), places, ack.Cancelled, "for the test", func(message.Place) int { return 0 }); err != nil {
		return err
	}
	fmt.Println(-len(places))
	_, err := db.Prune(time.Now())
	return err
}

// After a kill -9 at any moment everything that is counted is what was told, but for
// the steps under way; messages and queues agree.
func TestCountsAfterAKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := openJournal(t, path, store.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	waiting := 0
	for round := range 8 {
		waiting += toldUntilKilled(t, path, 1+rand.IntN(200))
		if problems, err := store.Check(path); err != nil || len(problems) > 0 {
			t.Fatalf("round %d: check: %q, %v", round, problems, err)
		}
		db := openJournal(t, path, store.Options{})
		got := db.Counts()
		if most := busyRoutines * busyBatch; got.Waiting < waiting-most || got.Waiting > waiting+most || got.Inbox+got.Awaiting != 0 || db.Drift() != "" {
			t.Errorf("round %d: %+v, where %d were told; %s", round, got, waiting, db.Drift())
		}
		waiting = got.Waiting
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// toldUntilKilled sums up what a busy process says before it is killed, after steps
// of its steps.
func toldUntilKilled(t *testing.T, path string, steps int) (sum int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", faultChild+"=kill "+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		var x int
		if _, err := fmt.Sscan(lines.Text(), &x); err != nil {
			t.Fatalf("%s", lines.Text())
		}
		if sum += x; n == steps {
			_ = child.Process.Kill() // what it said until then is still read
		}
	}
	_ = child.Wait() // it was killed
	return sum
}
