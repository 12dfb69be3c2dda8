package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const echo = `{"toNode":"ship1","data":["hi"],"commandOrEvent":"CommandACK","method":"Echo"}`

func TestSubmitTakesAllDocuments(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	got, err := c.SubmitDocument(t.Context(), []byte(echo+"\n["+echo+","+strings.Replace(echo, `"toNode":"ship1"`, `"toNodes":["ship2","ship3"]`, 1)+"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var to []string
	for i, r := range got {
		to = append(to, r.ToNode)
		if r.ID != b.records[i].ID || r.State != store.Waiting || r.Seq != uint64(i+1) || r.FromNode != "central" {
			t.Errorf("record %d is %+v", i, r)
		}
		if r.ExpiresAt.Sub(r.AcceptedAt) != message.DefaultLife {
			t.Errorf("record %d expires at %s", i, r.ExpiresAt)
		}
	}
	if want := []string{"ship1", "ship1", "ship2", "ship3"}; !slices.Equal(to, want) {
		t.Errorf("sent to %s, want %s", to, want)
	}
}

func TestSubmitMessages(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	got, err := c.Submit(t.Context(),
		&message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"a\n\"b\""}},
		&message.Message{ToNode: "ship2", Kind: subject.EventNACK, Method: "Echo"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Data[0] != "a\n\"b\"" || got[1].Kind != subject.EventNACK {
		t.Errorf("got %+v", got)
	}
}

func TestSubmitIsAllOrNothing(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	for name, tc := range map[string]struct {
		doc    string
		status int
		says   []string
	}{
		"two bad ones":    {`[` + echo + `,{"toNode":"ship1"},{"toNode":"x.y"}]`, 422, []string{"nothing of the submission", "message 2", "message 3"}},
		"unfinished":      {echo + ` {"toNode":"shi`, 422, []string{"message 1 of the document"}},
		"no message":      {" \n[]", 422, []string{"holds no message"}},
		"unknown field":   {`{"tonode":"ship1"}`, 422, []string{"tonode", "toNode"}},
		"empty":           {"", 400, []string{"body"}},
		"too big":         {strings.Repeat(" ", api.MaxDocument+1), 413, []string{"too large"}},
		"too many":        {strings.Repeat(echo, api.MaxMessages+1), 413, []string{"more than 10000 messages", "inmsg.txt"}},
		"many bad ones":   {strings.Repeat(`{}`, 500), 422, []string{"and 400 more"}},
		"not JSON at all": {"\x00\xff", 422, []string{"message 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.SubmitDocument(t.Context(), []byte(tc.doc))
			p, ok := errors.AsType[*api.Problem](err)
			if !ok {
				t.Fatalf("got %v, want a problem", err)
			}
			if p.Status != tc.status {
				t.Errorf("status %d, want %d", p.Status, tc.status)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not in %q", s, err)
				}
			}
		})
	}
	if len(b.records) > 0 {
		t.Errorf("accepted %d messages", len(b.records))
	}
}

func TestSubmitRefused(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	c.Patience = time.Millisecond
	for _, want := range []error{api.ErrFull, message.ErrInvalid, api.ErrStopping} {
		b.mu.Lock()
		b.submitErr = fmt.Errorf("accept m1: %w: say more", want)
		b.mu.Unlock()
		_, err := c.SubmitDocument(t.Context(), []byte(echo))
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "say more") {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestListAsksForWhatTheFilterSays(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	want := store.Filter{
		ToNode: "ship1", FromNode: "central", Method: "CLI&Command", State: store.Ended, Outcome: ack.Failed,
		Labels: map[string]string{"site": "oslo=1", "x": "a,b &"}, Since: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Limit: 17, Results: true,
	}
	got, err := c.Messages(t.Context(), want)
	if err != nil || got == nil || len(got) > 0 {
		t.Fatalf("got %v, %v: want an empty list", got, err)
	}
	if !reflect.DeepEqual(b.filter, want) {
		t.Errorf("the node was asked for\n%+v, want\n%+v", b.filter, want)
	}
	for _, f := range []store.Filter{{State: "nowhere"}, {Outcome: "fine"}, {Limit: api.MaxLimit + 1}, {Labels: map[string]string{"": "x"}}} {
		_, err := c.Messages(t.Context(), f)
		if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != http.StatusUnprocessableEntity {
			t.Errorf("filter %+v: got %v", f, err)
		}
	}
}

func TestShowCancelResend(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	made, err := c.SubmitDocument(t.Context(), []byte(echo))
	if err != nil {
		t.Fatal(err)
	}
	id := made[0].ID
	for _, name := range []string{id, "last"} {
		if r, err := c.Message(t.Context(), name); err != nil || r.ID != id {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	if r, err := c.Cancel(t.Context(), id); err != nil || r.Outcome != ack.Cancelled {
		t.Errorf("cancel: %+v, %v", r, err)
	}
	if _, err := c.Cancel(t.Context(), id); !errors.Is(err, api.ErrTooLate) || !strings.Contains(err.Error(), "it is cancelled") {
		t.Errorf("second cancel: %v", err)
	}
	if r, err := c.Resend(t.Context(), id); err != nil || r.CausationID != id || r.ID == id {
		t.Errorf("resend: %+v, %v", r, err)
	}
}

func TestResendLog(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	var lines []byte
	var ids []string
	for _, text := range []string{"one", "two"} {
		m := &message.Message{
			ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{text}, ID: uuid.Must(uuid.NewV7()), FromNode: "central",
			Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 7}, Time: time.Now().Add(-time.Hour).UTC(),
		}
		m.Expires = m.Time.Add(2 * time.Hour)
		line, err := m.Encode("steward")
		if err != nil {
			t.Fatal(err)
		}
		lines, ids = append(append(lines, line...), '\n'), append(ids, m.ID.String())
	}
	result := &message.Message{
		ToNode: "ship1", Kind: subject.EventACK, Method: message.MethodResult, ID: uuid.Must(uuid.NewV7()), FromNode: "central",
		Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 8}, Time: time.Now().UTC(), Expires: time.Now().Add(time.Hour).UTC(), Result: &message.Result{Outcome: ack.Done},
	}
	own, err := result.Encode("steward")
	if err != nil {
		t.Fatal(err)
	}
	lines = append(append(lines, own...), '\n')
	first, _, _ := bytes.Cut(lines, []byte("\n"))
	lines = append(append(lines, first...), '\n') // a crash repeats
	log, err := api.ReadLog(lines)
	if err != nil || len(log.Messages) != 2 || log.Own != 1 || log.Repeats != 1 {
		t.Fatalf("%+v, %v", log, err)
	}
	got, err := c.ResendLog(t.Context(), log)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, r := range got {
		if r.CausationID != ids[i] || r.ID == ids[i] || r.Data[0] != []string{"one", "two"}[i] {
			t.Errorf("%d: %+v", i, r)
		}
		if life := time.Until(r.ExpiresAt); life < 119*time.Minute || life > 121*time.Minute {
			t.Errorf("%d lives for %s", i, life)
		}
	}
	log.Lines = append(log.Lines, []byte(`{"toNode":"ship1"}`))
	_, err = c.ResendLog(t.Context(), log)
	if !errors.Is(err, message.ErrInvalid) || !strings.Contains(err.Error(), "line 3") || len(b.records) != 2 {
		t.Errorf("a line of another kind: %v; %d accepted", err, len(b.records)-2)
	}
}

// A log that is longer than one submission goes in several.
func TestResendLongLog(t *testing.T) {
	c := serve(t, &bus{})
	m := &message.Message{
		ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", FromNode: "central",
		Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 7}, Time: time.Now().UTC(), Expires: time.Now().Add(time.Hour).UTC(),
	}
	var lines []byte
	for range api.MaxMessages + 3 {
		m.ID = uuid.Must(uuid.NewV7())
		line, err := m.Encode("steward")
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	log, err := api.ReadLog(lines)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.ResendLog(t.Context(), log); err != nil || len(got) != api.MaxMessages+3 {
		t.Errorf("%d, %v", len(got), err)
	}
	log.Lines[len(log.Lines)-1] = []byte("{}")
	if got, err := c.ResendLog(t.Context(), log); len(got) != api.MaxMessages || !strings.Contains(fmt.Sprint(err), "the first 10000 of 10003") {
		t.Errorf("%d, %v", len(got), err)
	}
}

func TestMessagesThatAreNotThere(t *testing.T) {
	c := serve(t, &bus{})
	calls := map[string]func(context.Context, string) (store.Record, error){
		"show": c.Message, "wait": c.Wait, "cancel": c.Cancel, "resend": c.Resend,
	}
	for verb, call := range calls {
		for _, id := range []string{"none", "", ".", "..", "a/b", "a?b=c", "%2e", "ü"} {
			if _, err := call(t.Context(), id); !errors.Is(err, api.ErrNotFound) {
				t.Errorf("%s %q: %v, want ErrNotFound", verb, id, err)
			}
		}
		if _, err := call(t.Context(), "ambiguous"); !errors.Is(err, api.ErrAmbiguous) {
			t.Errorf("%s: %v, want ErrAmbiguous", verb, err)
		}
	}
}

func TestManyWaitForOneOutcome(t *testing.T) {
	const n = 100
	b := &bus{waiting: make(chan string, 2*n)}
	c := serve(t, b)
	made, err := c.SubmitDocument(t.Context(), []byte(echo))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			r, err := c.Wait(t.Context(), "last")
			if err != nil {
				t.Error(err)
				b.waiting <- "nothing"
			} else if r.ID != made[0].ID || r.Outcome != ack.Done {
				t.Errorf("got %s %s", r.ID, r.Outcome)
			}
		})
	}
	for range n {
		<-b.waiting
	}
	// "last" is another one by now, and nobody waits for that.
	if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
		t.Fatal(err)
	}
	b.end(made[0].ID, ack.Done)
	wg.Wait()
}

func TestWaitEndsWithItsContext(t *testing.T) {
	b := &bus{waiting: make(chan string, 1), gone: make(chan error, 1)}
	c := serve(t, b)
	if _, err := c.SubmitDocument(t.Context(), []byte(echo)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-b.waiting
		cancel()
	}()
	if _, err := c.Wait(ctx, "last"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := <-b.gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the node's wait ended with %v", err)
	}
}
