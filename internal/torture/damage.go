package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/store"
)

// What happens to a journal, beside bits that flip in it.
const (
	journalLost = "lost" // it is deleted
	journalOld  = "old"  // a copy that was made before is put in its place
)

var journalModes = []string{journalLost, journalOld, journalOld}

func (n *node) journal() string { return filepath.Join(n.dir, "journal.db") }

// copyJournal keeps a backup; the node is not running.
func (n *node) copyJournal() error {
	b, err := os.ReadFile(n.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	n.backup = b
	return err
}

// loseJournal leaves nothing of it, or what the backup had.
func (n *node) loseJournal(how string) error {
	if how == journalLost {
		n.out(n.loss(how))
		return n.beginAnew()
	}
	if n.backup == nil { // a backup of today is for tomorrow
		return n.copyJournal()
	}
	n.out(n.loss(how))
	tmp := n.journal() + ".restored"
	return errors.Join(writeSynced(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, n.backup), os.Rename(tmp, n.journal()), syncDir(n.dir))
}

func (n *node) loss(how string) event {
	fault := faultJournal
	if n.name == central {
		fault = faultSender
	}
	return event{Node: n.name, What: fault + " " + how, At: time.Now()}
}

// beginAnew is what an operator does without a backup.
func (n *node) beginAnew() error {
	err := os.Remove(n.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(n.dir), store.Init(n.journal()))
}

// refused reports whether the node ended because of bits that we flipped. Then its
// operator removes the journal, and begins anew.
func (n *node) refused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.flipped || n.ready {
		return false
	}
	n.flipped = false
	n.then = next{before: func() error { return n.loseJournal(journalLost) }}
	return true
}

// install puts the first of its builds in the place of the node's program, as a
// package manager does: the old file is gone, and whoever runs it goes on.
func (n *node) install() error {
	tmp := n.bin + ".new"
	return errors.Join(os.Link(n.builds[0], tmp), os.Rename(tmp, n.bin))
}

// upgrade installs the other build: the next time it is a rollback.
func (n *node) upgrade() error {
	n.builds[0], n.builds[1] = n.builds[1], n.builds[0]
	n.out(event{Node: n.name, What: faultUpgrade, At: time.Now()})
	return n.install()
}

// killRunner kills what runs the commands of n, when there is one soon.
func (n *node) killRunner(ctx context.Context) {
	var pids []int
	for end := time.Now().Add(pointLimit); len(pids) == 0 && time.Now().Before(end) && sleep(ctx, restart/5); {
		pids = processes("\x00" + filepath.Join(n.dir, "runs") + "\x00")
	}
	if len(pids) > 0 {
		n.out(event{Node: n.name, What: faultRunner, At: time.Now()})
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

// poison publishes what nobody can read to the subjects that went by.
func (c *copies) poison(ctx context.Context, broker string, rng *rand.Rand, n int) error {
	nc, err := connect(broker)
	if err != nil {
		return err
	}
	defer nc.Close()
	c.mu.Lock()
	list := append([]*nats.Msg(nil), c.list...)
	c.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	for range n {
		m := *list[rng.IntN(len(list))]
		m.Reply = nats.NewInbox()
		head := nats.Header{}
		for k, v := range m.Header {
			head[k] = append([]string(nil), v...)
		}
		m.Header = head
		switch rng.IntN(5) {
		case 0: // half of it
			m.Data = m.Data[:rng.IntN(len(m.Data)/2+1)]
		case 1: // no text at all
			m.Data = make([]byte, rng.IntN(4096))
			for i := range m.Data {
				m.Data[i] = byte(rng.Uint32())
			}
		case 2: // brackets without end
			m.Data = make([]byte, 100_000)
			for i := range m.Data {
				m.Data[i] = '['
			}
		case 3: // a head that says nothing
			for k := range head {
				head[k] = []string{"\u0000%s../" + k}
			}
		case 4: // from nobody, and half of it
			m.Header, m.Data = nil, m.Data[:len(m.Data)/2]
		}
		if err := nc.PublishMsg(&m); err != nil {
			return err
		}
	}
	return nc.FlushTimeout(time.Second)
}

// damage is what r does to a node's files between its death and its next start.
func (r *round) damage(ctx context.Context, n *node, t Trouble) {
	do := func() error { return n.loseJournal(t.How) }
	if t.Fault == faultFlip {
		rng := rand.New(rand.NewPCG(r.plan.Seed, uint64(t.Nth)))
		do = func() error { return r.flip(n, t.How, rng) }
	}
	if t.Step != "" {
		n.dieAt(ctx, next{arm: fmt.Sprintf("%s:1", t.Step), struck: do})
		return
	}
	n.end(faultKill, syscall.SIGKILL, next{after: t.Hold, before: do})
}
