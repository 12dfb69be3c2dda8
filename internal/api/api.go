// Package api is the local HTTP/JSON interface of a node, on a unix socket in
// its data folder, and the client through which the commands use it.
package api

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

// What a Bus says by wrapping, and what a Client's errors wrap in turn.
var (
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("more than one fits")
	ErrTooLate   = errors.New("too late")
	ErrConflict  = errors.New("not possible as it stands now")
	ErrFull      = errors.New("no room: nothing of it was accepted")
	ErrStopping  = errors.New("the node is stopping")
)

// What only a Client meets.
var (
	ErrNoNode   = errors.New("no node is running here")
	ErrNoAnswer = errors.New("the node went away before it answered")
)

// ErrInUse says that the socket belongs to another node that lives.
var ErrInUse = errors.New("another steward answers on this socket")

// Limits of one request.
const (
	MaxDocument = 16 << 20        // bytes of one submission
	MaxMessages = 10_000          // messages that one submission may stand for
	MaxLimit    = 10_000          // entries in one list
	MaxWait     = 5 * time.Minute // one poll for an outcome
)

// SocketPath is where the node with that data folder listens.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "steward.sock") }

// Bus is the node, as the API sees it. All methods are called concurrently, and
// return soon after their ctx ended.
type Bus interface {
	// Submit makes all of ms durable, or none of them, and fills in ID, FromNode,
	// Place and Time. Errors wrap message.ErrInvalid or ErrFull where that is why.
	Submit(ctx context.Context, ms ...*message.Message) error
	// SubmitOnce is Submit for what may be a repeat of s: then nothing is accepted,
	// and earlier are the messages of that submission. Errors wrap also
	// message.ErrInvalid for a key that cannot be one, and ErrConflict for one that
	// stands for something else.
	SubmitOnce(ctx context.Context, s store.Submission, ms ...*message.Message) (earlier []store.Record, err error)
	// Messages returns the newest that pass f, newest first.
	Messages(ctx context.Context, f store.Filter) ([]store.Record, error)
	// Message takes a whole id, a unique beginning or end of one of at least 8
	// characters, or "last". Errors wrap ErrNotFound or ErrAmbiguous; so do those of
	// the next three.
	Message(ctx context.Context, id string) (store.Record, error)
	// Wait returns the message when it has ended; if ctx ends first, ctx's error.
	Wait(ctx context.Context, id string) (store.Record, error)
	// Cancel withdraws a message; the error wraps ErrTooLate if it cannot be.
	Cancel(ctx context.Context, id string) (store.Record, error)
	// Resend submits the message again, as a new one that names the old.
	Resend(ctx context.Context, id string) (store.Record, error)
	// Nodes returns the nodes that this one has heard of, and itself.
	Nodes(ctx context.Context) ([]store.Peer, error)
	Processes() []errorkernel.ProcessStatus
	// RestartProcess starts a process that was terminated, or ends its backoff.
	// Errors wrap ErrNotFound or ErrConflict.
	RestartProcess(name string) error
	// Failures returns the newest that pass f, newest first.
	Failures(ctx context.Context, f FailureFilter) ([]errorkernel.Failure, error)
	// ResolveFailure marks a failure as seen to; "all" marks all.
	ResolveFailure(ctx context.Context, id string) error
	Status(ctx context.Context) (Status, error)
}

// FailureFilter chooses failures; a zero field chooses all.
type FailureFilter struct {
	Class      errorkernel.Class
	Severity   errorkernel.Severity
	Node       string
	Since      time.Time // last seen at or after
	Unresolved bool
	Limit      int // newest first, at most this many; 0: 100
}

// Status is a node at a glance.
type Status struct {
	Node     string    `json:"node"`
	Version  string    `json:"version"`
	StoreID  string    `json:"storeId" doc:"Identity of the journal"`
	Epoch    string    `json:"epoch" doc:"Renewed at every start"`
	Since    time.Time `json:"since" doc:"When the node started"`
	Data     string    `json:"data" doc:"The data folder"`
	Broker   Broker    `json:"broker"`
	Disk     Disk      `json:"disk"`
	Central  string    `json:"central,omitempty" doc:"The node that collects failures and logs"`
	Backlog  Backlog   `json:"backlog"`
	Counters Counters  `json:"counters"`
	Twin     *Twin     `json:"twin,omitempty" doc:"The node that serves under this name instead; this one stands by until it is gone"`
	Insecure string    `json:"insecure,omitempty" doc:"What is open to others that should not be, if anything is"`
}

// Twin is another node that bears this one's name.
type Twin struct {
	Host     string    `json:"host" doc:"Name of its machine"`
	Data     string    `json:"data" doc:"Its data folder there"`
	Version  string    `json:"version"`
	Instance string    `json:"instance"`
	Journal  string    `json:"journal" doc:"Identity of its journal"`
	Started  time.Time `json:"started"`
	Since    time.Time `json:"since,omitzero" doc:"It serves since then"`
}

// Broker is the connection to NATS.
type Broker struct {
	Connected bool   `json:"connected"`
	URL       string `json:"url,omitempty"`
	Embedded  bool   `json:"embedded" doc:"The broker runs within this node"`
	LastError string `json:"lastError,omitempty"`
}

// Disk is how much room the data folder has.
type Disk struct {
	Free    int64     `json:"freeBytes"`
	Reserve int64     `json:"reserveBytes" doc:"Kept free of new work, for what was begun"`
	Full    string    `json:"full,omitempty" doc:"Why new work is refused, if it is"`
	Since   time.Time `json:"since,omitzero" doc:"It is full since then"`
}

// Backlog is what is on its way.
type Backlog struct {
	Waiting        int `json:"waiting" doc:"In the outbox, not acknowledged yet"`
	AwaitingResult int `json:"awaitingResult" doc:"Commands with their receiver, whose result is not back"`
	Started        int `json:"started" doc:"Of these, those that are known to run"`
	Cancelling     int `json:"cancelling" doc:"Given up after an attempt; their receivers are asked whether they have them"`
	Inbox          int `json:"inbox" doc:"Received, and not ended"`
}

// Counters count since the node started; what earlier lives did is in the list of
// messages.
type Counters struct {
	Since    time.Time              `json:"since" doc:"They count from then on: they begin anew at each start"`
	Accepted uint64                 `json:"accepted" doc:"Messages that were submitted here, and failures for central"`
	Received uint64                 `json:"received" doc:"Messages of other nodes"`
	Retries  uint64                 `json:"retries" doc:"Batches sent again because no answer came"`
	Failures uint64                 `json:"failures"`
	Outcomes map[ack.Outcome]uint64 `json:"outcomes,omitempty" doc:"Of messages of this node, also of those accepted before; an unknown one that is known later counts as both"`
}
