package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

var writeSchema = flag.Bool("write-schema", false, "write the testdata of the present schema that is missing")

// TestOldSchemas: a journal of each schema that there ever was opens, with all that
// is in it. Whoever raises the schema writes the testdata of the new one, by
// -write-schema, and keeps the others.
func TestOldSchemas(t *testing.T) {
	for n := range schema {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			file := filepath.Join("testdata", fmt.Sprintf("schema%d.db.gz", n+1))
			told := filepath.Join("testdata", fmt.Sprintf("schema%d.json", n+1))
			if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && *writeSchema && n+1 == schema {
				keepSchema(t, file)
			}
			path := filepath.Join(t.TempDir(), "journal.db")
			write(t, path, unpacked(t, file))
			if _, err := os.Stat(told); errors.Is(err, os.ErrNotExist) && *writeSchema {
				write(t, told, tells(t, path))
			}
			if problems, err := Check(path); err != nil || len(problems) > 0 {
				t.Errorf("check: %q, %v", problems, err)
			}
			want, err := os.ReadFile(told)
			if err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"", " a second time"} {
				if got := tells(t, path); !bytes.Equal(got, want) {
					t.Errorf("opened%s, it tells\n%s\nwant\n%s", when, got, want)
				}
			}
		})
	}
}

func unpacked(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keepSchema writes a journal with something in every bucket.
func keepSchema(t *testing.T, file string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	fillBuckets(t, path)
	if _, _, err := Compact(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.MkdirAll(filepath.Dir(file), 0o700)); err != nil {
		t.Fatal(err)
	}
	write(t, file, packed.Bytes())
}

func fillBuckets(t *testing.T, path string) {
	t.Helper()
	db, err := Open(path, Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	own := make([]*message.Message, 6)
	for i := range own {
		own[i] = &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{fmt.Sprint("message ", i)}, Labels: map[string]string{"n": fmt.Sprint(i)}}
		db.Fresh(own[i], time.Now())
	}
	must(db.Accept(t.Context(), own, true, Note{Key: "read", Value: []byte("up to here")}))
	s := own[0].Subject(subject.Prefix)
	answer := func(i int, a ack.Ack) Answer { return Answer{ID: own[i].ID, Place: own[i].Place, Ack: a, Attempts: 2} }
	must(db.Acked(s, []Answer{
		answer(0, ack.Ack{Verdict: ack.Rejected, Reason: "not here"}), answer(1, ack.Ack{Verdict: ack.Accepted}), answer(2, ack.Ack{Verdict: ack.Accepted}),
	}, false, nil))
	result := away("ship1", 1)
	result.Method, result.Kind, result.CausationID = message.MethodResult, subject.EventACK, own[2].ID
	result.Result = &message.Result{Outcome: ack.Done, Stdout: []byte("the output")}
	_, err = db.GiveUp(s, []message.Place{own[3].Place}, ack.Cancelled, "not wanted", func(message.Place) int { return 1 })
	must(err)
	_, err = db.GiveUp(s, []message.Place{own[4].Place}, ack.Expired, "too late", func(message.Place) int { return 0 })
	must(err)
	_, err = db.Receive(batchOf(t, db.ID(), result), fromAway(t, db.ID(), 0), fromAway(t, db.ID(), 1), fromAway(t, db.ID(), 2))
	must(err)
	for i := range 2 { // one runs, and one has ended
		b := fromAway(t, db.ID(), i)
		l := Lane{From: b.From, Subject: b.Subject}
		work, err := db.Inbox(l, message.Place{}, 1)
		must(err)
		_, err = db.Started(l, work[0].Place)
		must(err)
		if i == 0 {
			must(db.Finish(l, []Finished{{Work: work[0], Result: message.Result{Outcome: ack.Failed, Error: "it did not work"}}}))
		}
	}
	event := away("sensor", 1)
	event.Kind, event.Place = subject.EventACK, message.Place{}
	_, err = db.Plain(event.Subject(subject.Prefix), []Item{{Decoded: message.Decoded{Message: event, ID: event.ID, From: "sensor", Plain: true}}})
	must(err)
	must(db.PutPeer(Peer{Name: "ship1", OS: "linux", Methods: []string{"Echo"}}))
	must(db.PutFailure("failure 1", []byte(`{"cause": "a test"}`)))
	must(db.Close())
}

// tells is all that the journal at path tells, by what it is asked, without what
// depends on when that is: that it finds itself to be a copy, and marks what waits.
func tells(t *testing.T, path string) []byte {
	t.Helper()
	db, err := Open(path, Options{Node: "central", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	records, rerr := db.Records(Filter{Limit: 1000, Results: true})
	for i := range records {
		r := &records[i]
		if r.FromNode != "central" && r.State == Started {
			r.State, r.StartedAt = StateTaken, time.Time{}
		}
		for _, at := range []*time.Time{&r.AcceptedAt, &r.DeliveredAt, &r.StartedAt, &r.FinishedAt, &r.EndedAt, &r.ExpiresAt} {
			*at = at.UTC()
		}
	}
	note, nerr := db.Note("read")
	peers, perr := db.Peers()
	failures := map[string]string{}
	ferr := db.Failures(func(id string, record []byte) bool {
		failures[id] = string(record)
		return true
	})
	lanes := []string{}
	for _, l := range db.Lanes() {
		lanes = append(lanes, l.Key())
	}
	slices.Sort(lanes)
	road := db.RoadOf(subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Echo"})
	b, err := json.MarshalIndent(map[string]any{
		"counts": db.Counts(), "records": records, "note": string(note), "peers": peers, "failures": failures, "lanes": lanes,
		"history": db.ended, "road": road,
	}, "", " ")
	if err := errors.Join(err, rerr, nerr, perr, ferr, db.Close()); err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// away is a command of another node.
func away(from string, seq int) *message.Message {
	return &message.Message{
		ID: uuid.Must(uuid.NewV7()), FromNode: from, ToNode: "central", Kind: subject.CommandACK, Method: "Echo",
		Data: []string{"x"}, Time: time.Now(), Expires: time.Now().Add(time.Hour),
		Place: message.Place{Epoch: uuid.MustParse("01a1fbae-0403-70ff-8c72-c1b4ce33e9a2"), Seq: uint64(seq)},
	}
}

func batchOf(t testing.TB, to uuid.UUID, m *message.Message) Batch {
	t.Helper()
	event, err := m.Encode(subject.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	d, err := message.Decode(event, m.Subject(subject.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	return Batch{Subject: m.Subject(subject.Prefix), From: m.FromNode, For: to, Epoch: m.Place.Epoch, Items: []Item{{Decoded: d, Event: event}}}
}
