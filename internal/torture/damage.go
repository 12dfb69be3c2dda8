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
		n.out(event{n.name, faultJournal + " " + how, time.Now()})
		return n.beginAnew()
	}
	if n.backup == nil { // a backup of today is for tomorrow
		return n.copyJournal()
	}
	n.out(event{n.name, faultJournal + " " + how, time.Now()})
	tmp := n.journal() + ".restored"
	return errors.Join(writeSynced(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, n.backup), os.Rename(tmp, n.journal()), syncDir(n.dir))
}

// beginAnew is what an operator does without a backup.
func (n *node) beginAnew() error {
	err := os.Remove(n.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(n.dir), store.Init(n.journal()))
}

// flipBits changes single bits of the journal, anywhere in it.
func (n *node) flipBits(rng *rand.Rand, bits int) error {
	f, err := os.OpenFile(n.journal(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	for range bits {
		at, b := rng.Int64N(max(fi.Size(), 1)), make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1 << rng.IntN(8)
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	n.out(event{n.name, fmt.Sprintf("%s of %d bits", faultFlip, bits), time.Now()})
	n.mu.Lock()
	n.flipped = true
	n.mu.Unlock()
	return f.Sync()
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

// damage is what r does to a node's journal between its death and its next start.
func (r *round) damage(n *node, t Trouble) {
	rng := rand.New(rand.NewPCG(r.plan.Seed, uint64(t.Nth)))
	n.end(faultKill, syscall.SIGKILL, next{after: t.Hold, before: func() error {
		if t.Fault == faultFlip {
			return n.flipBits(rng, 1+t.Nth%8)
		}
		return n.loseJournal(t.How)
	}})
}
