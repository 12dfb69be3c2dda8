package stewardtest

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Pub is something that a node publishes: a request, or the answer to one.
type Pub struct {
	Subject string
	Raw     []byte // as it goes to the broker; belongs to the callee
}

// Answer reports whether p answers a request.
func (p Pub) Answer() bool { return strings.HasPrefix(p.Subject, "_INBOX.") }

// Fault decides what becomes of p: a copy arrives after each of the delays. None
// loses it; Pass is the good wire.
type Fault func(p Pub) []time.Duration

// Pass lets a publication through.
func Pass() []time.Duration { return []time.Duration{0} }

// Link is the wire between a node and the broker. It may be cut and healed, and
// given faults, at any time.
type Link struct {
	broker *server.Server

	mu    sync.Mutex
	cut   bool
	ever  bool // it was cut
	fault Fault
	conns []*conn
}

// InProcessConn lets nats.go dial.
func (l *Link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the link is cut")
	}
	under, err := l.broker.InProcessConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: under, link: l}
	l.conns = append(l.conns, c)
	return c, nil
}

// Cut closes the wire, with whatever is on its way, and keeps it closed.
func (l *Link) Cut() {
	l.mu.Lock()
	conns := l.conns
	l.cut, l.ever, l.conns = true, true, nil
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // it carries nothing more, whatever this says
	}
}

// Heal lets the node connect again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *Link) down() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *Link) was() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ever
}

// SetFault decides from now on what becomes of what the node publishes; nil ends it.
func (l *Link) SetFault(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

func (l *Link) fate(p Pub) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		return Pass()
	}
	return l.fault(p)
}

// conn knows enough of the NATS protocol to tell one publication from the next.
type conn struct {
	net.Conn
	link *Link

	mu   sync.Mutex // of what goes to the broker
	rest []byte     // the beginning of an operation
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, b...)
	for {
		op, p, ok := next(c.rest)
		if !ok {
			return len(b), nil
		}
		c.rest = c.rest[len(op):]
		delays := Pass()
		if p.Subject != "" {
			delays = c.link.fate(p)
		}
		for _, d := range delays {
			if d > 0 {
				time.AfterFunc(d, func() { c.late(p.Raw) })
			} else if _, err := c.Conn.Write(op); err != nil {
				return 0, err
			}
		}
	}
}

func (c *conn) late(raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.Conn.Write(raw) // a wire that was cut meanwhile carries nothing
}

// next is the first whole operation of b: a line, and for PUB and HPUB a payload
// whose length is the line's last word.
func next(b []byte) (op []byte, p Pub, ok bool) {
	i := bytes.Index(b, []byte("\r\n"))
	if i < 0 {
		return nil, p, false
	}
	size := i + 2
	words := strings.Fields(string(b[:i]))
	if len(words) > 2 && (words[0] == "PUB" || words[0] == "HPUB") {
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			return nil, p, false
		}
		if size += n + 2; len(b) < size {
			return nil, p, false
		}
		p = Pub{Subject: words[1], Raw: bytes.Clone(b[:size])}
	}
	return b[:size], p, true
}
