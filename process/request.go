package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// Header is the head of a request; its form is NATS's.
type Header = map[string][]string

// Names in a Header. What stands in them is about the request; what is about a
// message stands in its event.
const (
	headContent = "Content-Type"
	headFrom    = "Steward-From"    // the sender
	headEpoch   = "Steward-Epoch"   // of the sender's present opening
	headFor     = "Steward-For"     // the receiver store that the batch is for
	headSettled = "Steward-Settled" // the sender holds all acks up to this place
	headHeard   = "Steward-Heard"   // the loss of history that the receiver told of
	headAsk     = "Steward-Ask"     // the payload is a list of ids to tell about
)

// Errors that a Conn gives a Publisher to tell apart.
var (
	ErrNobody  = errors.New("the node is not connected: nobody listens on its subject")
	ErrOffline = errors.New("not connected to a broker")
)

// Conn carries requests.
type Conn interface {
	// Request sends data to s and waits for the answer. ErrNobody: certainly not
	// received. ErrOffline: certainly not sent.
	Request(ctx context.Context, s subject.Subject, h Header, data []byte) ([]byte, error)
	// Publish sends data to s and returns when the broker has it.
	Publish(ctx context.Context, s subject.Subject, h Header, data []byte) error
	// MaxPayload is the broker's limit in bytes, or 0 while it is not known.
	MaxPayload() int
}

// Request is what came in for a Subscriber. Respond may be called once.
type Request struct {
	Subject subject.Subject
	Header  Header
	Data    []byte
	Respond func(data []byte) error // nil: nobody waits for an answer
}

func (r Request) get(name string) string {
	if v := r.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// headerOf is the head of a batch from node.
func headerOf(node string, db *store.DB, road store.Road, contentType string) Header {
	h := Header{
		headFrom: {node}, headEpoch: {db.Epoch().String()}, headSettled: {road.Settled.String()},
		headContent: {contentType},
	}
	if road.Store != uuid.Nil {
		h[headFor] = []string{road.Store.String()}
	}
	return h
}

// batchOf reads the head of a request.
func batchOf(r Request) (b store.Batch, err error) {
	b.Subject, b.From = r.Subject, r.get(headFrom)
	if err := subject.ValidateNode(b.From); err != nil {
		return b, fmt.Errorf("%s: %w", headFrom, err)
	}
	if b.Epoch, err = uuid.Parse(r.get(headEpoch)); err != nil {
		return b, fmt.Errorf("%s: %w", headEpoch, err)
	}
	if f := r.get(headFor); f != "" {
		if b.For, err = uuid.Parse(f); err != nil {
			return b, fmt.Errorf("%s: %w", headFor, err)
		}
	}
	if f := r.get(headHeard); f != "" {
		if b.Heard, err = uuid.Parse(f); err != nil {
			return b, fmt.Errorf("%s: %w", headHeard, err)
		}
	}
	if b.Settled, err = parsePlace(r.get(headSettled)); err != nil {
		return b, fmt.Errorf("%s: %w", headSettled, err)
	}
	if bytes.Compare(b.Settled.Epoch[:], b.Epoch[:]) > 0 {
		return b, fmt.Errorf("%s: %s is of a later life than the request", headSettled, b.Settled)
	}
	return b, nil
}

func parsePlace(s string) (p message.Place, err error) {
	if s == "" {
		return p, nil
	}
	epoch, seq, _ := strings.Cut(s, "/")
	if p.Epoch, err = uuid.Parse(epoch); err != nil {
		return p, err
	}
	p.Seq, err = strconv.ParseUint(seq, 10, 64)
	return p, err
}
