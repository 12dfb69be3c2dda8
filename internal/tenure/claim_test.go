package tenure

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// matches is what NATS does with a pattern of literal tokens and stars.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i := range p {
		if len(p) != len(s) || p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

// Who listens for others hears all questions but those of its own bits; who
// holds the name hears all.
func TestWhoIsHeard(t *testing.T) {
	var ids []uuid.UUID
	for i := range 64 {
		id := uuid.Must(uuid.NewV7())
		if i > 0 && i <= bits { // one bit from the first
			id = ids[0]
			id[15-(i-1)/8] ^= 1 << ((i - 1) % 8)
		}
		ids = append(ids, id)
	}
	for _, a := range ids {
		for _, b := range ids {
			q := question("steward", "ship1", b)
			heard := slices.ContainsFunc(others("steward", "ship1", a), func(p string) bool { return matches(p, q) })
			if same := a[14] == b[14] && a[15] == b[15]; heard == same {
				t.Errorf("%s hears %s: %t", a, b, heard)
			}
			if !matches(everybody("steward", "ship1"), q) {
				t.Errorf("%s is not heard", q)
			}
		}
	}
	if matches(everybody("steward", "ship1"), question("steward", "ship2", ids[0])) {
		t.Error("another node's question is heard")
	}
}

// Of any two exactly one keeps the name, and three agree who.
func TestOneComesFirst(t *testing.T) {
	var list []Claim
	now := time.Now()
	for range 3 {
		for _, since := range []time.Time{{}, now, now.Add(time.Nanosecond)} {
			for _, standby := range []bool{true, false} {
				c, ok := decode(Claim{Instance: uuid.Must(uuid.NewV7()), Since: since, Standby: standby, At: now}.encode())
				if !ok {
					t.Fatal("a claim cannot be read")
				}
				list = append(list, c)
			}
		}
	}
	for _, a := range list {
		for _, b := range list {
			if a.Instance != b.Instance && a.precedes(b) == b.precedes(a) {
				t.Errorf("%+v and %+v", a, b)
			}
			for _, c := range list {
				if a.precedes(b) && b.precedes(c) && !a.precedes(c) {
					t.Errorf("%+v, %+v and %+v", a, b, c)
				}
			}
		}
	}
	if !list[2].precedes(list[0]) || !list[2].precedes(list[4]) || !list[1].precedes(list[0]) {
		t.Error("who serves, or serves for longer, or starts, does not come first")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Claim{Instance: uuid.New()}.encode())
	f.Add([]byte(`{"instance":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := decode(b); ok && c.Instance == uuid.Nil {
			t.Error("a claim of nobody")
		}
	})
}
