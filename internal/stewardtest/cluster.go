// Package stewardtest runs clusters of real nodes on a real broker inside a
// synctest bubble: links are cut, requests and answers lost, doubled and
// delayed, nodes crash, and a week takes a second.
package stewardtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Cluster is a broker, the nodes on it, and a record of what they ran. New must
// be called, and Close too, inside the bubble.
type Cluster struct {
	Broker *server.Server

	t     testing.TB
	dir   string
	nodes []*Node
	links map[string]*Link
	extra map[string][]process.Method

	mu   sync.Mutex
	runs []Run
}

// Run is one start of method Job.
type Run struct {
	Node  string
	Place string // its folder: see StartAt
	ID    string
	Data  string // the first of the message's
}

// New starts a broker.
func New(t testing.TB) *Cluster {
	t.Helper()
	return NewIn(t, Folder(t))
}

// NewIn is New with the folders of an earlier cluster under dir. Time begins anew
// in each bubble: for the nodes the clock has stepped back.
func NewIn(t testing.TB, dir string) *Cluster {
	t.Helper()
	ForgetTimers()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start() // ended by Close
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker not ready")
	}
	return &Cluster{Broker: s, t: t, dir: dir, links: map[string]*Link{}, extra: map[string][]process.Method{}}
}

// ForgetTimers empties the pool of timers that all NATS connections of a process
// share. One that was made in another bubble, or in none, ends the process.
func ForgetTimers() {
	runtime.GC() // each throws away half of every sync.Pool
	runtime.GC()
}

// Folder is one in memory where there is such a thing: what an fsync costs is
// not what these tests ask.
func Folder(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "steward")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Close stops all nodes and the broker.
func (c *Cluster) Close() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.Stop()
	}
	c.Broker.Shutdown()
	c.Broker.WaitForShutdown()
	for _, l := range c.links {
		if l.was() { // nats.go pools a timer at each reconnect, which the next bubble must not meet
			runtime.GC()
			runtime.GC()
			return
		}
	}
}

// Link is the wire between node name and the broker.
func (c *Cluster) Link(name string) *Link {
	l := c.links[name]
	if l == nil {
		l = &Link{broker: c.Broker}
		c.links[name] = l
	}
	return l
}

// Dir is the data folder of node name.
func (c *Cluster) Dir(name string) string { return filepath.Join(c.dir, name) }

// Runs lists what began to run so far, in order.
func (c *Cluster) Runs() []Run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Run(nil), c.runs...)
}

// Node is a running node.
type Node struct {
	*steward.Node
	c      *Cluster
	name   string
	place  string // of its folder and link
	cancel context.CancelFunc
	done   chan error
	over   bool
}

// Handle gives node name one more method, from its next Start on.
func (c *Cluster) Handle(name string, m process.Method) { c.extra[name] = append(c.extra[name], m) }

// Start runs node name on its data folder; configure may change its Config. It
// has the method Job, for commands and events, not repeatable: it records that it
// runs, and then sleeps for the duration, or panics, as data[1] says.
func (c *Cluster) Start(name string, configure ...func(*steward.Config)) *Node {
	c.t.Helper()
	return c.StartAt(name, name, configure...)
}

// StartAt is Start with the folder and the link of another name.
func (c *Cluster) StartAt(place, name string, configure ...func(*steward.Config)) *Node {
	c.t.Helper()
	cfg := steward.Config{
		Name: name, Dir: c.Dir(place), Central: "central", Headless: true,
		Options: []nats.Option{nats.InProcessServer(c.Link(place))},
	}
	if testing.Verbose() && os.Getenv("STEWARD_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, f := range configure {
		f(&cfg)
	}
	n, err := steward.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	job := process.Method{Name: "Job", Kinds: []subject.Kind{subject.CommandACK, subject.EventACK}, Handler: c.job(place, name)}
	for _, m := range append(c.extra[name], job) {
		if err := n.Handle(m); err != nil {
			c.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Node{Node: n, c: c, name: name, place: place, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- n.Run(ctx) }() // ended by Stop or Crash
	c.nodes = append(c.nodes, r)
	return r
}

func (c *Cluster) job(place, name string) process.HandlerFunc {
	return func(ctx context.Context, m *message.Message) message.Result {
		c.mu.Lock()
		c.runs = append(c.runs, Run{name, place, m.ID.String(), strings.Join(m.Data[:min(1, len(m.Data))], "")})
		c.mu.Unlock()
		if len(m.Data) < 2 {
			return message.Result{Outcome: ack.Done}
		}
		d, err := time.ParseDuration(m.Data[1])
		if err != nil {
			panic(m.Data[1])
		}
		select {
		case <-time.After(d):
			return message.Result{Outcome: ack.Done}
		case <-ctx.Done():
			return message.Result{Outcome: ack.Failed, Error: "ended: " + context.Cause(ctx).Error()}
		}
	}
}

// Stop ends the node cleanly. Stopping it twice is no error.
func (n *Node) Stop() {
	n.c.t.Helper()
	if n.over {
		return
	}
	n.over = true
	n.cancel()
	if err := <-n.done; err != nil {
		n.c.t.Errorf("%s: %v", n.name, err)
	}
}

// Crash ends the node as kill -9 would at this instant, between two steps of its
// goroutines: nothing more leaves it, and its journal is what it was.
func (n *Node) Crash() {
	n.c.t.Helper()
	synctest.Wait() // nobody is in the middle of a commit
	journal := n.c.Journal(n.place)
	link := n.c.Link(n.place)
	down := link.down()
	link.Cut()
	n.Stop()
	n.c.SetJournal(n.place, journal)
	if !down {
		link.Heal()
	}
}

// Journal is a copy of the journal of node name.
func (c *Cluster) Journal(name string) []byte {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Dir(name), "journal.db"))
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// SetJournal puts an older journal of the stopped node name back in place, in
// the same file, and nothing tells, as with a snapshot of the machine; nil loses it.
func (c *Cluster) SetJournal(name string, journal []byte) {
	c.t.Helper()
	path := filepath.Join(c.Dir(name), "journal.db")
	var err error
	if journal == nil {
		err = os.Remove(path)
	} else {
		err = errors.Join(os.Truncate(path, 0), os.WriteFile(path, journal, 0o600))
	}
	if e := os.Remove(path + ".opening"); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if journal == nil {
		err = errors.Join(err, store.Init(path))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// ReplaceJournal puts journal in the place of the stopped node name's as another
// file, as a restored backup is.
func (c *Cluster) ReplaceJournal(name string, journal []byte) {
	c.t.Helper()
	path := filepath.Join(c.Dir(name), "journal.db")
	if err := errors.Join(os.WriteFile(path+".restored", journal, 0o600), os.Rename(path+".restored", path)); err != nil {
		c.t.Fatal(err)
	}
}

// CloneJournal gives the folder to the journal of the stopped node in from, as a
// clone of its machine has it: its opening cannot tell that it is a copy.
func (c *Cluster) CloneJournal(from, to string) {
	c.t.Helper()
	path := filepath.Join(c.Dir(to), "journal.db")
	if err := errors.Join(os.MkdirAll(c.Dir(to), 0o700), os.WriteFile(path, c.Journal(from), 0o600)); err != nil {
		c.t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		c.t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	key, home := []byte("home"), fmt.Appendf(nil, "%d/%d", st.Dev, st.Ino)
	sum := crc32.Checksum(append(bytes.Clone(key), home...), crc32.MakeTable(crc32.Castagnoli))
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put(key, append(binary.LittleEndian.AppendUint32(nil, sum), home...))
		}), db.Close())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Command is a command for the method Job of node to.
func Command(to string, data ...string) *message.Message {
	return &message.Message{ToNode: to, Kind: subject.CommandACK, Method: "Job", Data: data}
}

// Submit accepts m at n, or ends the test.
func (n *Node) Submit(m *message.Message) string {
	n.c.t.Helper()
	if err := n.Node.Submit(context.Background(), m); err != nil {
		n.c.t.Fatal(err)
	}
	return m.ID.String()
}

// Outcome waits up to limit for the outcome of message id.
func (n *Node) Outcome(id string, limit time.Duration) (ack.Outcome, string) {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r, err := n.Wait(ctx, id)
	if err != nil {
		n.c.t.Errorf("message %s to %s is %s after %s: %v", id, r.ToNode, r.State, limit, err)
	}
	return r.Outcome, r.Reason
}
