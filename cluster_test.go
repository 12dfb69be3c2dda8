package steward_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

const day = 24 * time.Hour

// inBubble runs f with a broker and nobody else, in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, c *stewardtest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := stewardtest.New(t)
		defer c.Close()
		f(t, c)
	})
}

// commands submits n jobs for ship1, numbered from 0.
func commands(n *stewardtest.Node, count int) (ids []string) {
	for i := range count {
		ids = append(ids, n.Submit(stewardtest.Command("ship1", strconv.Itoa(i))))
	}
	return ids
}

// want checks the outcomes of messages, each within a week.
func want(t *testing.T, n *stewardtest.Node, outcome ack.Outcome, ids ...string) {
	t.Helper()
	for i, id := range ids {
		if got, why := n.Outcome(id, 7*day); got != outcome {
			t.Errorf("message %d of %d is %q (%s), want %s", i, len(ids), got, why, outcome)
		}
	}
}

// wantRuns checks what began to run, in order.
func wantRuns(t *testing.T, c *stewardtest.Cluster, data ...string) {
	t.Helper()
	var got []string
	for _, r := range c.Runs() {
		got = append(got, r.Data)
	}
	if !slices.Equal(got, data) {
		t.Errorf("ran %q, want %q", got, data)
	}
}

// wantOnce checks that jobs ran once each, whatever else did.
func wantOnce(t *testing.T, c *stewardtest.Cluster, data ...string) {
	t.Helper()
	count := map[string]int{}
	for _, r := range c.Runs() {
		count[r.Data]++
	}
	for _, d := range data {
		if count[d] != 1 {
			t.Errorf("%s ran %d times", d, count[d])
		}
	}
}

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

// submit accepts at n one command of method to node for each of data, all at once.
func submit(t *testing.T, n *stewardtest.Node, to, method string, data ...string) (ids []string) {
	t.Helper()
	ms := make([]*message.Message, len(data))
	for i, d := range data {
		ms[i] = &message.Message{ToNode: to, Kind: subject.CommandACK, Method: method, Data: []string{d}}
	}
	if err := n.Node.Submit(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		ids = append(ids, m.ID.String())
	}
	return ids
}

// ended waits for the outcome of a message.
func ended(t *testing.T, n *stewardtest.Node, id string) store.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	r, err := n.Wait(ctx, id)
	if err != nil {
		t.Fatalf("%s is %s %s: %v", id, r.State, r.LastError, err)
	}
	return r
}

// status is the process called name, with the zero State where there is none.
func status(n *stewardtest.Node, name string) (s errorkernel.ProcessStatus) {
	for _, p := range n.Processes() {
		if p.Name == name {
			s = p
		}
	}
	return s
}

// peer is what n knows of the node called name.
func peer(t *testing.T, n *stewardtest.Node, name string) (p store.Peer) {
	t.Helper()
	list, err := n.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(list, func(p store.Peer) bool { return p.Name == name }); i >= 0 {
		p = list[i]
	}
	return p
}

// failures lists what n keeps, newest first.
func failures(t *testing.T, n *stewardtest.Node, f api.FailureFilter) []errorkernel.Failure {
	t.Helper()
	list, err := n.Failures(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantFailure checks that n's error kernel keeps a failure of class that speaks of text.
func wantFailure(t *testing.T, n *stewardtest.Node, class errorkernel.Class, text string) {
	t.Helper()
	time.Sleep(time.Minute)
	list := failures(t, n, api.FailureFilter{Class: class, Limit: 1000})
	for _, f := range list {
		if strings.Contains(f.Cause, text) {
			return
		}
	}
	t.Errorf("%s knows no %s failure about %q, but %v", n.Name(), class, text, list)
}

// waitFor looks, in real time, until ok holds.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
