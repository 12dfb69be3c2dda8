package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

// answered is after how long nobody waits for the answer to a request any more. Who
// answers before, and knows where to, is believed: that only a signature can change.
const answered = 5 * ackTimeout

// stranger is a node that nobody has.
const stranger = "ship9"

// forge lets a stranger answer requests that went by long ago, and tell of results:
// of messages that did not go to it, and of none. If all has its outcome, it also
// tells them in the name of who was asked, in the place of what that one said: who
// has no key to sign with can be spoken for, but not contradicted.
func (c *copies) forge(ctx context.Context, broker string, rng *rand.Rand, n int, settled bool) (sent int, err error) {
	nc, err := connect(broker)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	c.mu.Lock()
	old := 0
	for old < len(c.at) && time.Since(c.at[old]) > answered {
		old++
	}
	list := slices.Clone(c.list[:old])
	c.mu.Unlock()
	for range n {
		if len(list) == 0 || ctx.Err() != nil {
			break
		}
		m := list[rng.IntN(len(list))]
		if !strings.HasSuffix(m.Subject, ".Result") {
			if m.Reply != "" {
				err = nc.Publish(m.Reply, forgedAck(m, rng))
				sent++
			}
		} else {
			err = nc.PublishMsg(forgedResult(m, rng, settled))
			sent++
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nc.FlushTimeout(time.Second)
}

// forgedAck accepts, or refuses, all of a request.
func forgedAck(m *nats.Msg, rng *rand.Rand) []byte {
	verdict := []string{"accepted", "rejected", "stale"}[rng.IntN(3)]
	store := m.Header.Get("Steward-For")
	if rng.IntN(2) == 0 || store == "" {
		store = uuid.NewString()
	}
	return []byte(`{"store":"` + store + `","acks":[{"verdict":"` + verdict + `","count":1000}]}`)
}

// forgedResult says something else than m did.
func forgedResult(m *nats.Msg, rng *rand.Rand, settled bool) *nats.Msg {
	f := &nats.Msg{Subject: m.Subject, Reply: nats.NewInbox(), Header: nats.Header{}, Data: m.Data}
	for k, v := range m.Header {
		f.Header[k] = slices.Clone(v)
	}
	for _, word := range []string{"done", "failed", "timeout", "unknown"} {
		f.Data = bytes.ReplaceAll(f.Data, []byte(`"outcome":"`+word+`"`), []byte(`"outcome":"cancelled"`))
	}
	from := m.Header.Get("Steward-From")
	switch k := rng.IntN(3); {
	case k == 0 && settled: // in its name
	case k == 1: // of nothing
		f.Data = replaceIDs(f.Data, "causationid")
		fallthrough
	default:
		f.Header.Set("Steward-From", stranger)
		f.Header.Set("Steward-Epoch", uuid.Must(uuid.NewV7()).String())
		f.Data = bytes.ReplaceAll(f.Data, []byte(`"source":"`+from+`"`), []byte(`"source":"`+stranger+`"`))
		f.Data = replaceIDs(f.Data, "id")
	}
	return f
}

// replaceIDs gives each attribute of that name another id.
func replaceIDs(data []byte, name string) []byte {
	head := []byte(`"` + name + `":"`)
	const length = len("00000000-0000-0000-0000-000000000000")
	data = slices.Clone(data)
	for rest := data; ; {
		i := bytes.Index(rest, head)
		if i < 0 || len(rest) < i+len(head)+length {
			return data
		}
		copy(rest[i+len(head):], uuid.Must(uuid.NewV7()).String())
		rest = rest[i+len(head)+length:]
	}
}
