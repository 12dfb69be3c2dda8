// Package steward is a node of the command bus: embed one in a Go program, or
// run the steward command, which is nothing but this.
//
// A message goes from Submit through the journal (package store) to a Publisher
// (package process), over NATS to the receiver's Subscriber and journal, to its
// handler, and its result comes back on the same road.
package steward

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/internal/metrics"
	"github.com/steward-bus/steward/internal/runner"
	"github.com/steward-bus/steward/internal/submit"
	"github.com/steward-bus/steward/internal/tenure"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Config says what a node is. Name is needed; the zero value of all else works.
type Config struct {
	Name string // of the node, unique in its fleet
	Dir  string // data folder; ./data/<Name> if empty

	Listen  string   // address of the embedded broker; none if empty
	Brokers []string // URLs of brokers to join instead; with neither, the node only accepts
	Central string   // node that collects failures; none if empty
	InMsg   string   // file that submissions are dropped into; inmsg.txt in Dir if empty
	Prefix  string   // of all subjects; subject.Prefix if empty

	Policy       ack.Policy          // of messages that name no timeout or retries
	Idle         time.Duration       // a process with nothing to do ends after this; 1 minute if zero
	Grace        time.Duration       // running commands may take so long to end at shutdown; 10 s if zero
	HistoryAge   time.Duration       // see store.Options
	HistoryCount int                 // see store.Options
	InboxLimit   int                 // see store.Options
	Allow        map[string][]string // method -> nodes that may ask for it, "*" for all; a method without entry: all
	Forward      []follow.Source     // logs to send on
	Runner       string              // a steward program that commands run under, so that they outlive the node; if empty they run within it, and end with it
	CLI          method.CLIConfig
	HTTP         method.HTTPConfig
	Text         method.TextConfig

	Headless bool          // no local API and no inmsg.txt: for a program that embeds the node
	Metrics  string        // address of /metrics, /healthz and /readyz; none if empty
	Insecure bool          // allow a broker and metrics off loopback, open to everybody
	Version  string        // told to other nodes; "dev" if empty
	Log      *slog.Logger  // nil: quiet
	Options  []nats.Option // the last word on the connection: credentials, or a server in process
}

// Node is one member of the bus. Make it with New, register methods of your own
// with Handle, then Run it. All methods but Handle may be called concurrently.
type Node struct {
	cfg     Config
	db      *store.DB
	kernel  *errorkernel.Kernel
	metrics *metrics.Metrics
	conn    atomic.Pointer[transport.Conn]
	name    atomic.Pointer[tenure.Holder] // nil where there is no connection
	broker  *transport.Broker
	leaving atomic.Bool
	methods map[string]*process.Method
	runs    *runner.Runs // nil without Config.Runner
	opened  time.Time
	log     *slog.Logger
	stop    context.Context // ends runs when the node cannot wait any longer
	halt    context.CancelCauseFunc

	accepted, received, retries, failures atomic.Uint64
	msgs                                  *messageLog
	heard                                 uuid.UUID    // notices up to it; its process' own
	room                                  process.Room // for requests that wait

	mu          sync.Mutex
	publishers  map[string]*process.Publisher
	subscribers map[string]*process.Subscriber
	unknown     int // of them, for methods that the node does not have
	workers     map[string]*process.Worker
	peers       map[string]store.Peer
	waiters     map[uuid.UUID][]chan store.Change
	outcomes    map[ack.Outcome]uint64
	files       map[uuid.UUID]bool // records to be written to results/
	filesWake   chan struct{}
	resultsPut  int           // files written since the folder was pruned; of the process that writes them
	noticed     chan struct{} // the error kernel has something to hear
	inbound     []func()      // end what is listened to
	twins       []twinKey
	running     map[uuid.UUID]time.Time // own commands that run, and since when, as far as their receivers said

	began sync.Once
}

// ErrConfig is wrapped by what New says about a Config that cannot work.
var ErrConfig = errors.New("invalid configuration")

// New opens the node's journal, so that it can accept messages; Run delivers
// them. Errors: ErrConfig, or those of store.Open.
func New(cfg Config) (*Node, error) {
	if err := subject.ValidateNode(cfg.Name); err != nil {
		return nil, fmt.Errorf("%w: node: %w", ErrConfig, err)
	}
	cfg = withDefaults(cfg)
	if cfg.Listen != "" && len(cfg.Brokers) > 0 {
		return nil, fmt.Errorf("%w: a node embeds a broker (listen) or joins one (broker), not both", ErrConfig)
	}
	if err := makeFolder(cfg.Dir); err != nil {
		return nil, unusable(cfg.Dir, err)
	}
	n := &Node{
		cfg: cfg, log: cfg.Log.With("node", cfg.Name), opened: time.Now(),
		methods: map[string]*process.Method{}, publishers: map[string]*process.Publisher{},
		subscribers: map[string]*process.Subscriber{}, workers: map[string]*process.Worker{},
		peers: map[string]store.Peer{}, waiters: map[uuid.UUID][]chan store.Change{}, outcomes: map[ack.Outcome]uint64{},
		files: map[uuid.UUID]bool{}, filesWake: make(chan struct{}, 1), noticed: make(chan struct{}, 1),
		running: map[uuid.UUID]time.Time{},
	}
	n.stop, n.halt = context.WithCancelCause(context.Background())
	n.metrics = n.newMetrics()
	db, err := store.Open(filepath.Join(cfg.Dir, "journal.db"), store.Options{
		Node: cfg.Name, Prefix: cfg.Prefix, HistoryAge: cfg.HistoryAge, HistoryCount: cfg.HistoryCount, InboxLimit: cfg.InboxLimit,
		Traces:  []string{"messages.log", "runs", "claims", "results"},
		Changed: n.changed, Notify: bad, Noticed: func() {
			select {
			case n.noticed <- struct{}{}:
			default: // it is awake
			}
		},
		Observe: func(ops int, took time.Duration) { n.metrics.Committed(took, ops) },
	})
	if err != nil {
		return nil, unusable(cfg.Dir, err)
	}
	n.db = db
	peers, err := db.Peers()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if n.msgs, err = openMessageLog(cfg.Dir, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, p := range peers {
		n.peers[p.Name] = p
	}
	n.kernel = &errorkernel.Kernel{Node: cfg.Name, Log: n.log, Store: n.keepFailure, Told: n.toldNotices, Observe: n.count, Waits: n.waits}
	if cfg.Central != "" && cfg.Central != cfg.Name {
		n.kernel.Forward = n.forwardFailure
	}
	if err := n.openRuns(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	for _, m := range method.Table(n.host()) {
		n.methods[m.Name] = &m
	}
	return n, nil
}

// unusable says of an error of the data folder what to do, where that is not the
// journal's to say.
func unusable(dir string, err error) error {
	at, isPath := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data folder %s cannot be used: %w: let the user that steward runs as (uid %d) write there, or choose another by --data", dir, err, os.Getuid())
	case isPath && at.Op == "mkdir":
		return fmt.Errorf("data folder %s cannot be made: %s: choose another by --data", dir, at.Err.Error()) // not wrapped: nothing was looked for
	}
	return err
}

func withDefaults(cfg Config) Config {
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join("data", cfg.Name)
	}
	if cfg.InMsg == "" {
		cfg.InMsg = filepath.Join(cfg.Dir, "inmsg.txt")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = subject.Prefix
	}
	if cfg.Version == "" {
		cfg.Version = "dev" // a hello without one is refused
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Handle registers a method of the embedding program. Call it before Run.
func (n *Node) Handle(m process.Method) error {
	if err := subject.ValidateMethod(m.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if n.methods[m.Name] != nil || m.Name == message.MethodResult {
		return fmt.Errorf("%w: method %s exists", ErrConfig, m.Name)
	}
	if len(m.Kinds) == 0 || m.Handler == nil && m.Batch == nil {
		return fmt.Errorf("%w: method %s needs kinds and a handler", ErrConfig, m.Name)
	}
	n.methods[m.Name] = &m
	return nil
}

// checkAllow refuses an entry for a method that the node does not have, once all
// are registered: a name misspelt would leave the method that was meant open to all.
func (n *Node) checkAllow() error {
	names := slices.Sorted(maps.Keys(n.methods))
	for _, name := range slices.Sorted(maps.Keys(n.cfg.Allow)) {
		if n.methods[name] != nil {
			continue
		}
		err := fmt.Errorf("%w: allow names the method %q, which %s does not have", ErrConfig, name, n.cfg.Name)
		if near := message.Nearest(name, names); near != "" {
			err = fmt.Errorf("%w: did you mean %s?", err, near)
		}
		return err
	}
	return nil
}

// Name is the node's.
func (n *Node) Name() string { return n.cfg.Name }

// Close releases the files of a node that is not run.
func (n *Node) Close() error { return errors.Join(n.msgs.Close(), n.db.Close()) }

// Run delivers, receives and handles messages until ctx ends; what runs then may
// end within the grace, or goes on under Config.Runner, and the rest stays in the
// journal. It returns nil after a clean stop, ErrConfig if Config.Allow names a
// method that the node does not have, and an error that wraps errorkernel.ErrFatal
// if the journal broke. When it returns the journal is closed and nothing of the node is left.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.db.Close()) }()
	defer n.halt(process.ErrStopping)
	defer func() { err = errors.Join(err, n.msgs.Close()) }()
	if err := n.checkAllow(); err != nil {
		return err
	}
	if err := n.connect(); err != nil {
		return err
	}
	defer n.disconnect()
	if err := n.spawn(); err != nil {
		return err
	}
	release := context.AfterFunc(ctx, func() { // runs in progress may end in peace, for a while
		n.fallSilent()
		n.log.Info("stopping", "grace", n.cfg.Grace.String())
		select {
		case <-time.After(n.cfg.Grace):
			n.halt(process.ErrStopping)
		case <-n.stop.Done():
		}
	})
	defer release()
	if !n.online() {
		n.begin() // the name is asked for when there is a broker
	}
	err = n.kernel.Run(ctx)
	if n.runs != nil {
		n.runs.Close()
	}
	n.log.Info("stopped")
	return err
}

// spawn starts the processes that live as long as the node.
func (n *Node) spawn() error {
	results := submit.Results{Dir: filepath.Join(n.cfg.Dir, "results")}
	steady := map[string]func(context.Context) error{
		"sweep":    n.sweep,
		"hello":    n.sayHello,
		"results":  func(ctx context.Context) error { return n.writeResults(ctx, results) },
		"metrics":  n.serveMetrics,
		"forward":  n.forwardLogs,
		"failures": n.relayStorageFault,
		"notices":  n.tellNotices,
		"disk":     n.watchDisk,
	}
	if !n.cfg.Headless {
		steady["api"], steady["submit"] = n.serveAPI, n.watchSubmissions
	}
	if h := n.name.Load(); h != nil {
		steady["name"] = h.Run
	}
	for name, run := range steady {
		if err := n.kernel.Go(name, run); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	return nil
}

// begin takes up what the journal holds, once it is known whether it is this
// node's alone, or that nobody can be asked.
func (n *Node) begin() {
	n.began.Do(func() {
		waiting, awaiting := n.db.Subjects()
		for _, s := range slices.Concat(waiting, awaiting) {
			n.publish(s)
		}
		for _, l := range n.db.Lanes() {
			n.work(l)
		}
		n.log.Info("ready", "data", n.cfg.Dir, "inmsg", n.cfg.InMsg, "broker", n.brokerURL(), "version", n.cfg.Version)
		if n.cfg.Insecure {
			n.log.Warn("insecure: whoever reaches the broker can run commands on this node")
		}
	})
}

// relayStorageFault ends the node when the journal can no longer be written:
// nobody knows what the disk holds, and only an opening finds out.
func (n *Node) relayStorageFault(ctx context.Context) error {
	select {
	case <-n.db.Broken():
		n.kernel.Fatal(errorkernel.Storage, n.db.Fault())
	case <-ctx.Done():
	}
	return nil
}

func (n *Node) host() *method.Host {
	return &method.Host{
		DataDir: n.cfg.Dir, Committed: n.committed, Failed: n.collect, Hello: n.helloMessage,
		Report: func(err error) {
			n.report(errorkernel.Failure{Class: errorkernel.Handler, Severity: errorkernel.Warning, Cause: err.Error()})
		},
		Log: n.log, Runs: n.runs, CLI: n.cfg.CLI, HTTP: n.cfg.HTTP, Text: n.cfg.Text,
	}
}

// committed is how much of a file was written by messages that have ended.
func (n *Node) committed(name string) (int64, bool, error) {
	v, err := n.db.Note(process.LengthKey(name))
	if err != nil || v == nil {
		return 0, false, err
	}
	length, err := strconv.ParseInt(string(v), 10, 64)
	return length, err == nil, err
}
