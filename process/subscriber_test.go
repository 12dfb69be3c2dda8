package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// reply is the answer to a request, as it stands on the wire.
type reply struct {
	Store   uuid.UUID     `json:"store"`
	Refused store.Refusal `json:"refused"`
	Acks    []run         `json:"acks"`
	Traces  []store.Trace `json:"traces"`
	Error   string        `json:"error"`
}

// run is an ack that Count neighbours share; 0 stands for 1.
type run struct {
	ack.Ack
	Count int `json:"count"`
}

// head is what central says of itself.
func (r *road) head() process.Header {
	return process.Header{
		"Steward-From": {"central"}, "Steward-Epoch": {r.central.Epoch().String()}, "Steward-For": {r.ship1.ID().String()},
		"Content-Type": {"application/cloudevents-batch+json"},
	}
}

// events of central's messages, joined.
func events(t *testing.T, ms ...*message.Message) []byte {
	t.Helper()
	var list [][]byte
	for _, m := range ms {
		b, err := m.Encode(subject.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	payload, _ := message.Join(list)
	return payload
}

// ask offers a request to sub, which runs, and waits for the answer.
func ask(t *testing.T, sub *process.Subscriber, h process.Header, data []byte) (a reply) {
	t.Helper()
	got := make(chan []byte, 1)
	if !sub.Offer(process.Request{Subject: sub.Subject, Header: h, Data: data, Respond: func(b []byte) error { got <- b; return nil }}) {
		t.Fatal("the request was dropped")
	}
	select {
	case b := <-got:
		if err := json.Unmarshal(b, &a); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	case <-time.After(minute):
		t.Fatal("no answer")
	}
	return a
}

func verdicts(a reply) (list []ack.Verdict) {
	for _, x := range a.Acks {
		list = append(list, slices.Repeat([]ack.Verdict{x.Verdict}, max(x.Count, 1))...)
	}
	return list
}

// What waits is decided in few transactions, and answered one by one.
func TestRequestsFold(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		if err := r.ship1.Close(); err != nil {
			t.Fatal(err)
		}
		var groups []int
		r.ship1 = r.open("ship1", store.Options{Observe: func(ops int, _ time.Duration) { groups = append(groups, ops) }})
		sub := r.subscriber(job, idle())
		ms := r.submit(job, nil, numbers(300)...)
		answers := 0
		for _, m := range ms {
			if !sub.Offer(process.Request{Subject: job, Header: r.head(), Data: events(t, m), Respond: func(b []byte) error {
				if strings.Contains(string(b), `"accepted"`) {
					answers++
				}
				return errors.New("nobody hears it") // which is no error of the subscriber
			}}) {
				t.Error("dropped")
			}
		}
		stop := runs(t, sub.Run)
		synctest.Wait()
		if answers != 300 || r.ship1.Counts().Inbox != 300 || len(groups) != 5 {
			t.Errorf("%d answered, in %d transactions", answers, len(groups))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The requests that wait for a node are bounded in bytes, over all its subjects;
// whose request finds no room hears that it is to come again.
func TestRoomForRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		var room process.Room
		big, said, crowded := make([]byte, 1<<20), "", 0
		listener := func(s subject.Subject) *process.Subscriber {
			sub := r.subscriber(s, idle())
			sub.Room, sub.Crowded = &room, func() { crowded++ }
			return process.NewSubscriber(sub)
		}
		fill := func(subs ...*process.Subscriber) (waiting int) {
			said, crowded = "", 0
			for i := range 100 {
				sub := subs[i%len(subs)]
				if sub.Offer(process.Request{Subject: sub.Subject, Header: r.head(), Data: big, Respond: func(b []byte) error { said = string(b); return nil }}) {
					waiting++
				}
			}
			return waiting
		}
		subs := []*process.Subscriber{listener(job), listener(note)}
		if n := fill(subs...); n != 63 || crowded != 37 || !strings.Contains(said, `"busy"`) {
			t.Errorf("%d requests of 1 MiB wait; the others heard %s", n, said)
		}
		for _, sub := range subs {
			stop := runs(t, sub.Run)
			synctest.Wait()
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		if n := fill(subs...); n != 0 || crowded != 0 || said != "" {
			t.Errorf("%d requests wait for subscribers that have ended; the others heard %s", n, said)
		}
		if n := fill(listener(job)); n != 63 {
			t.Errorf("%d requests wait after the others were decided on", n)
		}
	})
}

// What cannot be read is answered with the reason, and nothing of it is taken.
func TestUnreadableRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, numbers(2)...)
		sub := r.subscriber(job, idle())
		stop := runs(t, sub.Run)
		good := events(t, ms...)
		with := func(key, value string) process.Header {
			h := r.head()
			h[key] = []string{value}
			return h
		}
		plain, err := ms[0].Encode(subject.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range map[string]struct {
			h    process.Header
			data []byte
			want string
		}{
			"sender":       {with("Steward-From", "a.b"), good, "Steward-From"},
			"epoch":        {with("Steward-Epoch", "x"), good, "Steward-Epoch"},
			"for":          {with("Steward-For", "x"), good, "Steward-For"},
			"settled":      {with("Steward-Settled", "x"), good, "Steward-Settled"},
			"settled seq":  {with("Steward-Settled", uuid.Max.String()+"/x"), good, "Steward-Settled"},
			"claim":        {with("Steward-Settled", ms[1].Place.String()), good, "claims to hold acks"},
			"no json":      {r.head(), []byte("hello"), "one event or an array"},
			"not an event": {r.head(), []byte(`[{"a": 1}]`), "event 1"},
			"order":        {r.head(), events(t, ms[1], ms[0]), "places of a batch rise"},
			"twice":        {r.head(), events(t, ms[0], ms[0]), "places of a batch rise"},
			"plain":        {r.head(), []byte(strings.Replace(string(plain), "stewepoch", "otherepoch", 1)), "event 1"},
		} {
			if a := ask(t, sub, x.h, x.data); !strings.Contains(a.Error, x.want) || len(a.Acks) > 0 || a.Store != r.ship1.ID() {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if a := ask(t, sub, r.head(), good); fmt.Sprint(verdicts(a)) != "[accepted accepted]" {
			t.Errorf("then a good one: %+v", a)
		}
		sub.Offer(process.Request{Subject: job, Header: r.head(), Data: []byte("hello")}) // and nobody waits
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A message that this node will not have is rejected, each with its reason, and
// its neighbours are taken; who must know of it is told.
func TestRejections(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*process.Subscriber)
		from   string
		want   string
	}{
		"no method": {func(s *process.Subscriber) { s.Method = nil }, "", "ship1 has no method Job"},
		"kind":      {func(s *process.Subscriber) { s.Method.Kinds = []subject.Kind{subject.EventNACK} }, "", "does not take kind CommandACK"},
		"policy": {func(s *process.Subscriber) {
			s.Allow = func(from string) error { return fmt.Errorf("not from %s", from) }
		}, "", "not from central"},
		"check": {func(s *process.Subscriber) {
			s.Method.Check = func(m *message.Message) error { return fmt.Errorf("not %s", m.Data[0]) }
		}, "", "not x"},
		"source": {func(*process.Subscriber) {}, "ship2", `its source is "central"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *road) {
				m := r.submit(job, nil, "x")[0]
				sub := r.subscriber(job, idle())
				x.change(sub)
				stop := runs(t, sub.Run)
				h := r.head()
				if x.from != "" {
					h["Steward-From"] = []string{x.from}
				}
				for range 2 { // a repeat gets the same word
					a := ask(t, sub, h, events(t, m))
					if len(a.Acks) != 1 || a.Acks[0].Verdict != ack.Rejected || !strings.Contains(a.Acks[0].Reason, x.want) {
						t.Errorf("%+v", a)
					}
				}
				synctest.Wait()
				told, err := r.ship1.Notices(uuid.Nil, 10)
				if err != nil || len(told) != 1 || told[0].Message != m.ID || !strings.Contains(told[0].Reason, x.want) || r.ship1.Counts().Inbox != 0 {
					t.Errorf("to be told are %+v, %v, counts %+v", told, err, r.ship1.Counts())
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An instant method ends its message in the transaction that takes it, unless
// another waits before it, it is too late, or the handler panics: then a worker
// is called.
func TestInstantMethod(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := doing(func(_ context.Context, m *message.Message) message.Result {
			if m.Data[0] == "bad" {
				panic("boom")
			}
			return message.Result{Stdout: message.Text(m.Data[0])}
		})
		m.Instant = true
		sub := r.subscriber(job, m)
		var work, handled, queued int
		sub.Work = func(store.Lane) { work++ }
		sub.Handled = func(store.Work, message.Result) { handled++ }
		sub.Queued = func(ms []*message.Message) { queued += len(ms) }
		stop := runs(t, sub.Run)
		check := func(step string, m *message.Message, state store.State, wantWork, wantHandled int) {
			t.Helper()
			if a := ask(t, sub, r.head(), events(t, m)); fmt.Sprint(verdicts(a)) != "[accepted]" {
				t.Errorf("%s: %+v", step, a)
			}
			synctest.Wait()
			rec, err := r.ship1.Record(m.ID)
			if err != nil || rec.State != state || work != wantWork || handled != wantHandled || queued != handled {
				t.Errorf("%s: it is %s, %v; %d lanes to work on, %d handled, %d replies", step, rec.State, err, work, handled, queued)
			}
		}
		check("good", r.submit(job, nil, "good")[0], store.Ended, 0, 1)
		late := r.submit(job, func(m *message.Message) { m.Expires = time.Now().Add(time.Second) }, "late")[0]
		time.Sleep(2 * time.Second)
		check("late", late, store.StateTaken, 1, 1)
		check("behind it", r.submit(job, nil, "behind")[0], store.StateTaken, 2, 1)
		w := r.worker(t.Context(), m)
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("bad", r.submit(job, nil, "bad")[0], store.StateTaken, 3, 1)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Who asks is told how each message stands; a result that its sender lost goes
// out again.
func TestSubscriberTells(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		ms := r.submit(job, nil, "waiting", "started", "answered", "gone")
		sub := r.subscriber(job, idle())
		var again []*message.Message
		sub.Requeue = func(ms ...*message.Message) error {
			again = append(again, ms...)
			return nil
		}
		stop := runs(t, sub.Run)
		ask(t, sub, r.head(), events(t, ms[:3]...))
		if _, err := r.ship1.Started(lane, ms[1].Place); err != nil {
			t.Fatal(err)
		}
		result := &message.Message{ToNode: "central", Kind: subject.EventACK, Method: message.MethodResult, CausationID: ms[2].ID, Result: &message.Result{Outcome: ack.Done}}
		r.ship1.Fresh(result, time.Now())
		f := store.Finished{Work: store.Work{ID: ms[2].ID, Place: ms[2].Place}, Result: *result.Result, Replies: []*message.Message{result}}
		if err := r.ship1.Finish(lane, []store.Finished{f}); err != nil {
			t.Fatal(err)
		}
		question := func(ids []uuid.UUID) reply {
			b, err := json.Marshal(ids)
			if err != nil {
				t.Fatal(err)
			}
			h := r.head()
			h["Steward-Ask"] = []string{"1"}
			return ask(t, sub, h, b)
		}
		if a := question(ids(ms)); fmt.Sprint(a.Traces) != "[waiting started answered gone]" || len(again) != 0 {
			t.Errorf("%+v; %d sent again", a, len(again))
		}
		s := result.Subject(subject.Prefix)
		if err := r.ship1.Acked(s, []store.Answer{{ID: result.ID, Place: result.Place, Ack: ack.Ack{Verdict: ack.Accepted}}}, false, nil); err != nil {
			t.Fatal(err)
		}
		if a := question(ids(ms[2:3])); fmt.Sprint(a.Traces) != "[answered]" || len(again) != 1 || again[0].CausationID != ms[2].ID {
			t.Errorf("%+v; sent again: %+v", a, again)
		}
		if a := question(make([]uuid.UUID, 257)); !strings.Contains(a.Error, "up to 256 ids") {
			t.Errorf("too many at once: %+v", a)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A CloudEvent of a client that is no steward is taken once, if its method and
// the policy let it in.
func TestPlainEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		sub := r.subscriber(note, idle())
		var lanes []store.Lane
		sub.Work = func(l store.Lane) { lanes = append(lanes, l) }
		sub.Allow = func(from string) error {
			if from != "external" {
				return fmt.Errorf("not from %s", from)
			}
			return nil
		}
		stop := runs(t, sub.Run)
		event := func(source, id string) []byte {
			return fmt.Appendf(nil, `{"specversion": "1.0", "id": %q, "source": %q, "type": "com.example.note", "data": ["x"]}`, id, source)
		}
		for i, x := range []struct {
			data  []byte
			want  string
			inbox int
		}{
			{event("//host/a", "1"), "[accepted]", 1},
			{event("//host/a", "1"), "[accepted]", 1},
			{event("//host/b", "1"), "[accepted]", 2},
			{event("ship7", "1"), "[rejected]", 2},
			{[]byte(`[` + string(event("//host/a", "2")) + `,` + string(event("//host/a", "3")) + `]`), "[accepted accepted]", 4},
			{[]byte(`{"a": 1}`), "[rejected]", 4},
		} {
			a := ask(t, sub, process.Header{"Content-Type": {"application/cloudevents+json"}}, x.data)
			synctest.Wait()
			if fmt.Sprint(verdicts(a)) != x.want || r.ship1.Counts().Inbox != x.inbox {
				t.Errorf("event %d: %+v, counts %+v", i, a, r.ship1.Counts())
			}
		}
		for _, l := range lanes {
			if l.From != "plain:external" || l.Subject != note {
				t.Errorf("lane %+v", l)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What waits of a client that is no steward when a subscriber ends is not taken, nor answered.
func TestPlainEventsAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		sub := r.subscriber(note, idle())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 3 {
			sub.Offer(process.Request{
				Subject: note, Data: fmt.Appendf(nil, `{"specversion": "1.0", "id": "%d", "source": "sensor", "type": "a", "data": ["x"]}`, i),
				Respond: func([]byte) error {
					if cancel(); i > 0 {
						t.Errorf("answer to request %d", i)
					}
					return nil
				},
			})
		}
		if err := sub.Run(ctx); err != nil || r.ship1.Counts().Inbox != 1 {
			t.Errorf("%v, counts %+v", err, r.ship1.Counts())
		}
	})
}

// A subscriber whose journal broke ends with the error, and answers nothing.
func TestSubscriberOfAClosedJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, r *road) {
		m := r.submit(job, nil, "x")[0]
		sub := r.subscriber(job, idle())
		h := r.head()
		if err := r.ship1.Close(); err != nil {
			t.Fatal(err)
		}
		sub.Offer(process.Request{Subject: job, Header: h, Data: events(t, m), Respond: func(b []byte) error {
			t.Errorf("answered %s", b)
			return nil
		}})
		if err := sub.Run(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
		r.ship1 = r.open("ship1", store.Options{})
	})
}
