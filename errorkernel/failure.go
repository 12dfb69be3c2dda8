// Package errorkernel is the one place that every failure goes to. It owns the
// goroutines of a node, decides what a failing one does next, and tells central.
package errorkernel

import "time"

// Class says which part failed.
type Class string

// The classes.
const (
	Submission  Class = "submission"  // a document or message that could not be taken
	Storage     Class = "storage"     // the journal, or a file beside it
	Transport   Class = "transport"   // the connection to the broker, or what came over it
	Process     Class = "process"     // a goroutine of the node ended with an error or a panic
	Handler     Class = "handler"     // a method failed, or panicked
	Rejection   Class = "rejection"   // this node refused a message, or had one refused
	Expiry      Class = "expiry"      // a message's lifetime ended
	Undelivered Class = "undelivered" // a message's retries ran out
	Unknown     Class = "unknown"     // a message ended and nobody can tell how
	Identity    Class = "identity"    // a journal was lost, copied or restored, or two nodes bear one name
)

// Severity orders failures for the operator.
type Severity string

// The severities, the mildest first.
const (
	Warning  Severity = "warning"  // handled; worth knowing
	Error    Severity = "error"    // something asked for did not happen
	Critical Severity = "critical" // the node, or a part of it, needs a hand
)

// Action is what the kernel decided.
type Action string

// The actions.
const (
	Log       Action = "log"       // nothing but the record
	Restart   Action = "restart"   // the process starts again after a pause
	Terminate Action = "terminate" // the process stays down until the operator restarts it
)

// Failure is one thing that went wrong. JSON names are part of the wire and of
// the API.
type Failure struct {
	ID       string    `json:"id"` // of the first of its kind in a coalesced run; what follows is of the latest
	Node     string    `json:"node"`
	Class    Class     `json:"class"`
	Severity Severity  `json:"severity"`
	Process  string    `json:"process,omitempty"`   // the process that failed, usually a subject
	Subject  string    `json:"subject,omitempty"`   // the subject of the message
	Message  string    `json:"messageId,omitempty"` // id of the message, if it is about one
	Among    []string  `json:"among,omitempty"`     // subjects, processes or nodes that it stands for, if several: up to MaxAmong
	Cause    string    `json:"cause"`               // what happened, for the operator
	Action   Action    `json:"action"`
	Count    int       `json:"count"` // how many failures of this kind it stands for
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Kept     time.Time `json:"kept,omitzero"`     // when the node that was asked first, or again, took note of it
	Resolved time.Time `json:"resolved,omitzero"` // when an operator resolved it, or all of it was mended
	Mended   int       `json:"mended,omitempty"`  // of Count, those that are over: an outcome became known, a disk has room
	Since    string    `json:"since,omitempty"`   // what came of the latest of those
}
