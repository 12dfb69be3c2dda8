package api_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/api"
)

func TestStatusNodesProcesses(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	st, err := c.Status(t.Context())
	if err != nil || st.Node != "central" || !st.Broker.Embedded || st.Backlog.Waiting != 7 || st.Counters.Outcomes[ack.Done] != 2 {
		t.Errorf("status: %+v, %v", st, err)
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].Name != "ship1" || !nodes[0].Online || nodes[0].StoreID.Version() != 7 {
		t.Errorf("nodes: %+v, %v", nodes, err)
	}
	processes, err := c.Processes(t.Context())
	if err != nil || !reflect.DeepEqual(processes, b.Processes()) {
		t.Errorf("processes: %+v, %v", processes, err)
	}
}

func TestRestartProcess(t *testing.T) {
	b := &bus{}
	c := serve(t, b)
	name := "publisher/steward.ship1.CommandACK.CLI Command?"
	if err := c.RestartProcess(t.Context(), name); err != nil {
		t.Error(err)
	}
	if did := b.done(); !slices.Equal(did, []string{"restart " + name}) {
		t.Errorf("did %q", did)
	}
	if err := c.RestartProcess(t.Context(), "none"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if err := c.RestartProcess(t.Context(), "running"); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "it runs") {
		t.Errorf("running: %v", err)
	}
}

func TestFailures(t *testing.T) {
	b := &bus{failures: []errorkernel.Failure{{
		ID: "f1", Node: "ship1", Class: errorkernel.Handler, Severity: errorkernel.Error,
		Cause: "it panicked", Action: errorkernel.Log, Count: 2, First: time.Unix(1, 0).UTC(), Last: time.Unix(2, 0).UTC(),
	}}}
	c := serve(t, b)
	want := api.FailureFilter{
		Class: errorkernel.Handler, Severity: errorkernel.Error, Node: "ship1",
		Since: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Unresolved: true, Limit: 5,
	}
	got, err := c.Failures(t.Context(), want)
	if err != nil || !reflect.DeepEqual(got, b.failures) {
		t.Errorf("got %+v, %v", got, err)
	}
	if !reflect.DeepEqual(b.failing, want) {
		t.Errorf("the node was asked for\n%+v, want\n%+v", b.failing, want)
	}
	if _, err := c.Failures(t.Context(), api.FailureFilter{Class: "mishap"}); err == nil {
		t.Error("a class that is none was taken")
	}
	for _, id := range []string{"f1", "all"} {
		if err := c.ResolveFailure(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if err := c.ResolveFailure(t.Context(), "none"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if did := b.done(); !slices.Equal(did, []string{"resolve f1", "resolve all"}) {
		t.Errorf("did %q", did)
	}
}

func TestErrorsAndPanicsAreAnswered(t *testing.T) {
	b := &bus{failWith: errors.New("the journal is closed")}
	c := serve(t, b)
	_, err := c.Status(t.Context())
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != 500 || p.Detail != "the journal is closed" {
		t.Errorf("error: %v", err)
	}
	err = c.RestartProcess(t.Context(), "panic")
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != 500 || !strings.Contains(p.Detail, "restart of all things") {
		t.Errorf("panic: %v", err)
	}
	if _, err := c.Nodes(t.Context()); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}
