// Package tenure sees to it that of all nodes that bear one name only one serves
// under it. A node asks for its own name before it serves: who holds the name
// answers, and then it stands by until that one is gone.
package tenure

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Claim is what a node says of itself where its name is asked for.
type Claim struct {
	Instance uuid.UUID `json:"instance"`       // drawn anew for each connection: clones of a running machine differ too
	Journal  uuid.UUID `json:"journal"`        // identity of its journal
	Host     string    `json:"host"`           // name of the machine
	Data     string    `json:"data"`           // the data folder there
	Version  string    `json:"version"`        // of steward
	Started  time.Time `json:"started"`        // when the node was
	Since    time.Time `json:"since,omitzero"` // it serves under the name since then; zero: it does not
	Standby  bool      `json:"standby,omitempty"`
	At       time.Time `json:"at"` // when it said so
}

// precedes reports whether c keeps the name and o does not: who serves goes
// before who does not, and longer before shorter; then who starts before who
// stands by, whose chance comes when nobody starts; the instance decides the rest.
func (c Claim) precedes(o Claim) bool {
	switch {
	case c.Since.IsZero() != o.Since.IsZero():
		return o.Since.IsZero()
	case !c.Since.Equal(o.Since):
		return c.Since.Before(o.Since)
	case c.Standby != o.Standby:
		return o.Standby
	}
	return bytes.Compare(c.Instance[:], o.Instance[:]) < 0
}

func (c Claim) encode() []byte {
	b, _ := json.Marshal(c) // nothing in it can fail
	return b
}

func decode(b []byte) (c Claim, ok bool) {
	err := json.Unmarshal(b, &c)
	return c, err == nil && c.Instance != uuid.Nil
}

// bits is how much of an instance stands in the subject that it asks on. Two that
// share them, once in 65,536 pairs, do not hear each other's questions.
const bits = 16

// base is where all that concerns the name of a node is said.
func base(prefix, node string) string { return prefix + ".name." + node + "." }

// question is the subject that the instance asks on: one token for each bit.
func question(prefix, node string, id uuid.UUID) string {
	return base(prefix, node) + strings.Join(tokens(id), ".")
}

// everybody matches all questions about the name, one's own too.
func everybody(prefix, node string) string {
	return base(prefix, node) + strings.Repeat("*.", bits-1) + "*"
}

// others are patterns that match the questions of all but id: another instance
// differs in one bit at least. Who listens on them can ask whether anybody else
// is there, and is told at once that nobody responds.
func others(prefix, node string, id uuid.UUID) []string {
	list := tokens(id)
	for i, bit := range list {
		rest := bits - 1 - i
		list[i] = base(prefix, node) + strings.Repeat("*.", i) + map[string]string{"0": "1", "1": "0"}[bit] + strings.Repeat(".*", rest)
	}
	return list
}

func tokens(id uuid.UUID) []string {
	list := make([]string, bits)
	for i := range list {
		list[i] = string('0' + id[len(id)-1-i/8]>>(i%8)&1)
	}
	return list
}
