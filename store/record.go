package store

import (
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// State is where a message is on its road.
type State string

// The states of a message, in order. At its receiver a message is never
// waiting; at its sender a result moves it from delivered to ended.
const (
	Waiting    State = "waiting"    // in the outbox, not acknowledged yet
	Cancelling State = "cancelling" // cancelled after an attempt; the receiver is being asked
	StateTaken State = "delivered"  // durably with the receiver
	Started    State = "started"    // at the receiver: a handler has it
	Ended      State = "ended"      // it has its outcome
)

// Record is all that a node knows of one message: what it is, where it stands,
// when it passed which step, and what came back. JSON names are part of the API.
type Record struct {
	ID          string            `json:"id"`
	FromNode    string            `json:"fromNode"`
	ToNode      string            `json:"toNode"`
	Incoming    bool              `json:"incoming,omitempty"` // received, not sent, by this node
	Kind        subject.Kind      `json:"commandOrEvent"`
	Method      string            `json:"method"`
	Data        []string          `json:"data"`
	Labels      map[string]string `json:"labels,omitempty"`
	Seq         uint64            `json:"seq"`
	Epoch       string            `json:"epoch"`
	State       State             `json:"state"`
	Outcome     ack.Outcome       `json:"outcome,omitempty"` // once ended
	Reason      string            `json:"reason,omitempty"`  // why, where the outcome needs one
	Attempts    int               `json:"attempts"`          // tries to deliver it, see docs/messages.md
	LastError   string            `json:"lastError,omitempty"`
	AcceptedAt  time.Time         `json:"acceptedAt"`           // durable at its sender
	DeliveredAt time.Time         `json:"deliveredAt,omitzero"` // acknowledged; at the receiver: received
	StartedAt   time.Time         `json:"startedAt,omitzero"`   // by the receiver's clock
	FinishedAt  time.Time         `json:"finishedAt,omitzero"`  // by the receiver's clock
	EndedAt     time.Time         `json:"endedAt,omitzero"`     // its outcome is durable here
	ExpiresAt   time.Time         `json:"expiresAt"`
	CausationID string            `json:"causationId,omitempty"` // the message that this one answers or repeats
	Result      *message.Result   `json:"result,omitempty"`
	Message     *message.Message  `json:"-"` // the whole message
}

// Filter chooses records; a zero field chooses all.
type Filter struct {
	ToNode, FromNode, Method string
	State                    State
	Outcome                  ack.Outcome
	Labels                   map[string]string
	Since                    time.Time // accepted at or after
	Limit                    int       // newest first, at most this many; 0: 100
	Results                  bool      // also the Result messages of the road itself

	Live func(*Record) // if set, adds what the journal does not know, before the filter looks
}

// Peer is what a node knows of another one, from its hellos and its traffic.
type Peer struct {
	Name      string    `json:"name"`
	StoreID   uuid.UUID `json:"storeId,omitzero"` // identity of its journal
	Epoch     uuid.UUID `json:"epoch,omitzero"`   // newest epoch met
	Version   string    `json:"version,omitempty"`
	OS        string    `json:"os,omitempty"`
	Arch      string    `json:"arch,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Methods   []string  `json:"methods,omitempty"`
	LastSeen  time.Time `json:"lastSeen,omitzero"`
	LeftAt    time.Time `json:"leftAt,omitzero"` // it said goodbye, and nothing since
	Waiting   int       `json:"waiting"`         // messages for it that are not acknowledged yet
	Online    bool      `json:"online"`          // heard of within the last 150 seconds and not gone since, or this node itself
}
