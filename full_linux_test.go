package steward_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/store"
)

// ballast gives a node that was not started yet a journal with some free pages.
func ballast(t *testing.T, c *stewardtest.Cluster, name string) (journal string) {
	t.Helper()
	if err := os.MkdirAll(c.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	journal = filepath.Join(c.Dir(name), "journal.db")
	db, err := store.Open(journal, store.Options{Node: name})
	if err != nil {
		t.Fatal(err)
	}
	stewardtest.Ballast(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return journal
}

// While the disk has no room for a while, no process is terminated, nor counted as
// failed: each goes on by itself when there is room.
func TestProcessesWaitForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		journal := ballast(t, c, "central")
		central := c.Start("central")
		ship := c.Start("ship1")
		time.Sleep(time.Second)
		ship.Stop()
		expiring := stewardtest.Command("ship1", "expires")
		expiring.Expires = time.Now().Add(10 * time.Minute)
		gone := central.Submit(expiring)
		waiting := commands(central, 2)
		heal := stewardtest.BreakDisk(t, journal, stewardtest.NoRoom)
		time.Sleep(10 * time.Minute)
		c.Start("ship1")
		time.Sleep(10 * time.Minute)
		for _, p := range central.Processes() {
			if p.State == errorkernel.Terminated || p.Restarts > 0 {
				t.Errorf("%+v", p)
			}
		}
		heal()
		want(t, central, ack.Expired, gone)
		want(t, central, ack.Done, waiting...)
		time.Sleep(time.Hour)
		wantRuns(t, c, "0", "1")
		for _, class := range []errorkernel.Class{errorkernel.Process, errorkernel.Submission} {
			if f := failures(t, central, api.FailureFilter{Class: class}); len(f) != 0 {
				t.Errorf("told of %+v", f)
			}
		}
	})
}
