package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/subject"
)

// maxCopies bounds what is kept of requests that went by.
const maxCopies = 4000

// copies keeps what was sent on the road, to be sent again later by somebody else.
type copies struct {
	mu   sync.Mutex
	list []*nats.Msg
	at   []time.Time // when each of them went by
}

// keep takes a frame that is a request of a steward, its subject being the
// second word of the line.
func (c *copies) keep(f frame) {
	line, rest, ok := bytes.Cut(f.bytes, []byte("\r\n"))
	words := strings.Fields(string(line))
	if !ok || len(words) < 4 || !strings.HasPrefix(words[1], "steward.") || !strings.HasPrefix(strings.ToUpper(words[0]), "H") {
		return
	}
	var head, all int
	if _, err := fmt.Sscan(words[len(words)-2]+" "+words[len(words)-1], &head, &all); err != nil || head > all || all > len(rest) {
		return
	}
	_, lines, _ := bytes.Cut(rest[:head], []byte("\r\n")) // the first is the version
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(lines))).ReadMIMEHeader()
	if err != nil {
		return
	}
	m := &nats.Msg{Subject: words[1], Header: nats.Header(h), Data: rest[head:all]}
	if strings.EqualFold(words[0], "HMSG") && len(words) == 6 {
		m.Reply = words[3]
	} else if strings.EqualFold(words[0], "HPUB") && len(words) == 5 {
		m.Reply = words[2]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) < maxCopies {
		c.list, c.at = append(c.list, m), append(c.at, time.Now())
	}
}

func connect(broker string) (*nats.Conn, error) {
	return nats.Connect(broker, nats.Timeout(5*time.Second), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// send sends up to n of the copies, in any order, and returns when they were
// answered or nobody is going to.
func (c *copies) send(ctx context.Context, broker string, rng *rand.Rand, n int) (sent int, err error) {
	nc, err := connect(broker)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	c.mu.Lock()
	list := append([]*nats.Msg(nil), c.list...)
	c.mu.Unlock()
	rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	list = list[:min(n, len(list))]
	var wait sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, m := range list {
		if s, err := subject.Parse(m.Subject); err != nil || !s.Kind.Acked() {
			_ = nc.PublishMsg(m) // nobody answers
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, _ = nc.RequestMsgWithContext(ctx, m) // whatever is answered: no effect may come of it
		})
	}
	wait.Wait()
	return len(list), nc.FlushTimeout(time.Second)
}
