package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

func TestSpecFile(t *testing.T) {
	const file = "../../docs/openapi.yaml"
	want, err := Spec()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/openapi.yaml is not what the code says: run UPDATE=1 go test ./internal/api -run TestSpecFile")
	}
}

// check holds a value's JSON against the schema of its type.
func check(t *testing.T, reg huma.Registry, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var parsed any
	if err := json.Unmarshal(b, &parsed); err != nil {
		t.Fatal(err)
	}
	res := &huma.ValidateResult{}
	huma.Validate(reg, reg.Schema(reflect.TypeOf(v), true, ""), huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, parsed, res)
	for _, err := range res.Errors {
		t.Errorf("%T: %v\n%s", v, err, b)
	}
}

func TestAnswersFitTheSpec(t *testing.T) {
	reg := newAPI(http.NewServeMux(), &routes{}).OpenAPI().Components.Schemas
	code, id, now := 0, uuid.Must(uuid.NewV7()), time.Now()
	full := store.Record{
		ID: id.String(), FromNode: "central", ToNode: "ship1", Kind: subject.CommandACK, Method: "CLICommand",
		Data: []string{"id"}, Labels: map[string]string{"a": "b"}, Seq: 1, State: store.Ended, Outcome: ack.Done, Reason: "r",
		Attempts: 1, LastError: "e", AcceptedAt: now, DeliveredAt: now, StartedAt: now, FinishedAt: now, EndedAt: now, ExpiresAt: now,
		Result: &message.Result{
			Outcome: ack.Done, ExitCode: &code, Stdout: message.Text("text"), Stderr: message.Text("\xff"), StdoutBytes: 4,
			HTTP: &message.HTTP{Status: 200, Header: map[string][]string{"A": {"b"}}}, StartedAt: now,
		},
	}
	check(t, reg, messageList{[]store.Record{{State: store.Waiting, Kind: subject.EventACK}, full}})
	for _, o := range ack.Outcomes {
		check(t, reg, store.Record{State: store.Ended, Kind: subject.EventACK, Outcome: o})
	}
	check(t, reg, nodeList{[]store.Peer{{Name: "ship1", StoreID: id, Epoch: id, Methods: []string{"Echo"}, LastSeen: now}, {}}})
	check(t, reg, processList{[]errorkernel.ProcessStatus{{Name: "x", State: errorkernel.Terminated, RetryAt: now, Advice: "a"}}})
	check(t, reg, failureList{[]errorkernel.Failure{{Class: errorkernel.Identity, Severity: errorkernel.Critical, Action: errorkernel.Restart, Resolved: now}}})
	check(t, reg, Status{Since: now, Counters: Counters{Outcomes: map[ack.Outcome]uint64{ack.Done: 1}}})
}

// The description of a submission is held to its parser, both ways.
func TestSubmissionSchemaNamesTheParsersFields(t *testing.T) {
	reg := newAPI(http.NewServeMux(), &routes{}).OpenAPI().Components.Schemas
	s := reg.SchemaFromRef(reg.Schema(reflect.TypeFor[submission](), true, "").Ref)
	var described []string
	for name := range s.Properties {
		described = append(described, name)
	}
	slices.Sort(described)

	entries := message.ParseComplete([]byte(`{"zzzzzzzzzzzzzzzzzzzzzzzz":1}`), time.Now())
	_, list, ok := strings.Cut(entries[0].Err.Error(), "one of ")
	if !ok {
		t.Fatalf("the parser's error lists no fields: %v", entries[0].Err)
	}
	known := strings.Split(strings.TrimSpace(list), ", ")
	slices.Sort(known)
	if !slices.Equal(described, known) {
		t.Errorf("described:\n%s\nthe parser knows:\n%s", described, known)
	}
}

func TestSubmissionSchemaFitsWhatTheParserTakes(t *testing.T) {
	reg := newAPI(http.NewServeMux(), &routes{}).OpenAPI().Components.Schemas
	schema := reg.Schema(reflect.TypeFor[submission](), true, "")
	for _, doc := range []string{
		`{"toNode":"ship1","data":["a"],"commandOrEvent":"CommandACK","method":"CLICommand","timeout":3,"retries":2}`,
		`{"toNodes":["ship1","ship2"],"data":[],"commandOrEvent":"EventNACK","method":"Echo","ackTimeout":"30s","methodTimeout":"1h30m",
		  "expires":"24h","onUnknown":"rerun","replyTo":"ship3","replyMethod":"TextLogging","directory":"a/b","fileName":"c","labels":{"site":"oslo"}}`,
		`{"toNode":"ship1","data":[],"commandOrEvent":"EventACK","method":"Echo","timeout":0.5,"expires":"2999-01-31T12:00:00Z"}`,
	} {
		var parsed any
		if err := json.Unmarshal([]byte(doc), &parsed); err != nil {
			t.Fatal(err)
		}
		res := &huma.ValidateResult{}
		huma.Validate(reg, schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, parsed, res)
		if len(res.Errors) > 0 {
			t.Errorf("the schema refuses %s: %v", doc, res.Errors)
		}
	}
}
