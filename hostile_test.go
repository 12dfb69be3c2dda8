package steward_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// stranger speaks the road's own words, in a name of its choice.
type stranger struct {
	t  *testing.T
	nc *nats.Conn
}

func newStranger(t *testing.T, c *stewardtest.Cluster) stranger {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(c.Broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return stranger{t, nc}
}

// ask sends a request with these headers, after it has found out whom it is for.
func (s stranger) ask(on, from, epoch, settled string, event []byte) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	request := func(h nats.Header, b []byte) []byte {
		m, err := s.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: on, Header: h, Data: b})
		if err != nil {
			s.t.Fatal(err)
		}
		return m.Data
	}
	var who struct{ Store string }
	if err := json.Unmarshal(request(nats.Header{"Steward-From": {"mallory"}, "Steward-Epoch": {uuid.Must(uuid.NewV7()).String()}}, nil), &who); err != nil {
		s.t.Fatal(err)
	}
	return string(request(nats.Header{
		"Steward-From": {from}, "Steward-Epoch": {epoch}, "Steward-For": {who.Store}, "Steward-Settled": {settled},
		"Content-Type": {message.ContentEvent},
	}, event))
}

// Nobody can put another message in the place of one that waits, though its id is no
// secret: neither at its receiver nor at its sender.
func TestIDOfAnotherMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Start("ship1")
		mallory := newStranger(t, c)
		slow := central.Submit(stewardtest.Command("ship1", "slow", "5m"))
		good := central.Submit(stewardtest.Command("ship1", "good"))
		away := central.Submit(stewardtest.Command("ship2", "away"))
		time.Sleep(time.Second)
		for to, id := range map[string]string{"ship1": good, "central": away} {
			epoch := uuid.Must(uuid.NewV7())
			m := &message.Message{
				ID: uuid.MustParse(id), FromNode: "mallory", ToNode: to, Kind: subject.EventACK, Method: "TextLogging", Data: []string{"evil"},
				Time: time.Now(), Expires: time.Now().Add(time.Hour), Place: message.Place{Epoch: epoch, Seq: 1},
			}
			event, err := m.Encode(subject.Prefix)
			if err != nil {
				t.Fatal(err)
			}
			if a := mallory.ask(m.Subject(subject.Prefix).String(), "mallory", epoch.String(), "", event); !strings.Contains(a, "its id is that of another message") {
				t.Errorf("%s answers %s", to, a)
			}
		}
		want(t, central, ack.Done, slow, good)
		c.Start("ship2")
		want(t, central, ack.Done, away)
		wantOnce(t, c, "slow", "good", "away")
	})
}

// What a stranger claims in a question, of acks that a sender holds or of a life to
// come, makes no subject deaf, and no sender unheard.
func TestForgedQuestions(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Start("ship1")
		mallory := newStranger(t, c)
		time.Sleep(time.Second)
		const far, soon = "ffffffff-ffff-7fff-bfff-ffffffffffff", "01ffffff-ffff-7fff-bfff-ffffffffffff"
		for _, x := range []struct{ epoch, settled, want string }{
			{uuid.Must(uuid.NewV7()).String(), far + "/9", "later life than the request"},
			{far, "", "not believed"},
			{soon, soon + "/9", `"store"`},
		} {
			if a := mallory.ask("steward.ship1.CommandACK.Job", "central", x.epoch, x.settled, nil); !strings.Contains(a, x.want) {
				t.Errorf("epoch %s, settled %s: %s", x.epoch, x.settled, a)
			}
		}
		want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "heard")))
		wantOnce(t, c, "heard")
	})
}

// A check that panics refuses its message; others go on.
func TestCheckThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Handle("ship1", process.Method{
			Name: "Bilge", Kinds: []subject.Kind{subject.CommandACK},
			Check: func(m *message.Message) error {
				if m.Data[0] == "bad" {
					panic("no pump")
				}
				return nil
			},
			Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result { return message.Result{Outcome: ack.Done} }),
		})
		central := c.Start("central")
		c.Start("ship1")
		ids := submit(t, central, "ship1", "Bilge", "good", "bad", "good")
		want(t, central, ack.Done, ids[0], ids[2])
		if outcome, why := central.Outcome(ids[1], time.Hour); outcome != ack.RejectedEnd || !strings.Contains(why, "panicked: no pump") {
			t.Errorf("%s: %s", outcome, why)
		}
	})
}

// event is an event of TextLogging to ship1 in the name of from, at the first place of epoch.
func (s stranger) event(from string, epoch uuid.UUID, change func(*message.Message)) []byte {
	s.t.Helper()
	m := &message.Message{
		ID: uuid.Must(uuid.NewV7()), FromNode: from, ToNode: "ship1", Kind: subject.EventACK, Method: "TextLogging", Data: []string{"evil"}, FileName: "x",
		Time: time.Now(), Expires: time.Now().Add(time.Hour), Place: message.Place{Epoch: epoch, Seq: 1},
	}
	if change != nil {
		change(m)
	}
	b, err := m.Encode(subject.Prefix)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// An epoch that no clock gives is not believed, whatever comes with it; the highest
// one that is believed is outlived, and told once.
func TestForgedEpoch(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		c.Start("ship1")
		mallory := newStranger(t, c)
		time.Sleep(time.Second)
		epoch := uuid.Max
		for _, x := range []struct {
			years int
			want  string
		}{{1001, "not believed"}, {999, `"accepted"`}} {
			binary.BigEndian.PutUint64(epoch[:], uint64(time.Now().AddDate(x.years, 0, 0).UnixMilli())<<16|0x7fff)
			if a := mallory.ask("steward.ship1.EventACK.TextLogging", "central", epoch.String(), "", mallory.event("central", epoch, nil)); !strings.Contains(a, x.want) {
				t.Errorf("%d years from now: %s", x.years, a)
			}
		}
		want(t, central, ack.Done, commands(central, 3)...)
		list, err := central.Failures(t.Context(), api.FailureFilter{})
		if err != nil || len(list) != 1 || list[0].Count != 1 || !strings.Contains(list[0].Cause, "has met a later life") {
			t.Errorf("it was told: %+v, %v", list, err)
		}
	})
}

// A reason for a refusal quotes only the beginning of what a stranger sent.
func TestLongReasons(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Start("ship1")
		mallory := newStranger(t, c)
		time.Sleep(time.Second)
		before := len(c.Journal("ship1"))
		for i := range 40 {
			epoch := uuid.Must(uuid.NewV7())
			event := mallory.event("mallory", epoch, func(m *message.Message) {
				m.Labels = map[string]string{strconv.Itoa(i): strings.Repeat("\x7f", 500_000)}
			})
			if a := mallory.ask("steward.ship1.EventACK.TextLogging", "mallory", epoch.String(), "", event); !strings.Contains(a, `"rejected"`) || len(a) > 4<<10 {
				t.Fatalf("an answer of %d bytes: %.200s", len(a), a)
			}
		}
		if n := len(c.Journal("ship1")) - before; n > 1<<20 {
			t.Errorf("the journal grew by %d bytes", n)
		}
	})
}
