package steward_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward"
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
		if f := failures(t, central, api.FailureFilter{Class: errorkernel.Storage}); len(f) != 1 || f[0].Count != 1 || f[0].Resolved.IsZero() {
			t.Errorf("told of the disk: %+v", f)
		}
	})
}

// leaves gives back all of a full disk but what new work does not get.
func leaves(t *testing.T, filler string) {
	t.Helper()
	fi, err := os.Stat(filler)
	if err == nil {
		err = os.Truncate(filler, fi.Size()-512<<10)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A receiver whose disk is full says so itself, once, and so does central; also
// that there is room again. A life that ends in between changes nothing of that.
func TestFullDiskIsTold(t *testing.T) {
	for name, reborn := range map[string]bool{"one life": false, "two lives": true} {
		t.Run(name, func(t *testing.T) {
			small := smallDisk(t)
			inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
				there := func(cfg *steward.Config) { cfg.Dir = small }
				central, ship := c.Start("central"), c.Start("ship1", there)
				want(t, central, ack.Done, commands(central, 1)...)
				for episode := range 2 {
					filler := fillDisk(t, small)
					leaves(t, filler)
					ids := commands(central, 3)
					time.Sleep(time.Hour)
					told := func() (list []errorkernel.Failure) {
						for at, n := range map[string]*stewardtest.Node{"ship1": ship, "central": central} {
							f := failures(t, n, api.FailureFilter{Class: errorkernel.Storage})
							if len(f) != episode+1 || f[0].Count != 1 || f[0].Severity != errorkernel.Critical || f[0].Node != "ship1" || !strings.Contains(f[0].Cause, small) {
								t.Fatalf("%s keeps %+v", at, f)
							}
							list = append(list, f[0])
						}
						return list
					}
					for _, f := range told() {
						if !f.Resolved.IsZero() {
							t.Errorf("it is full, and resolved: %+v", f)
						}
					}
					if s, err := ship.Status(t.Context()); err != nil || !strings.Contains(s.Disk.Full, small) || time.Since(s.Disk.Since) < 50*time.Minute {
						t.Errorf("status: %+v, %v", s.Disk, err)
					}
					if reborn {
						ship.Stop()
						ship = c.Start("ship1", there)
						time.Sleep(time.Hour)
					}
					if err := os.Remove(filler); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
					for _, f := range told() {
						if f.Resolved.IsZero() || !strings.Contains(f.Since, "has room again") {
							t.Errorf("there is room, and it is not resolved: %+v", f)
						}
					}
					if s, err := ship.Status(t.Context()); err != nil || s.Disk.Full != "" || s.Disk.Free == 0 {
						t.Errorf("status: %+v, %v", s.Disk, err)
					}
					want(t, central, ack.Done, ids...)
				}
			})
		})
	}
}
