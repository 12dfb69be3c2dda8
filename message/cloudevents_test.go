package message_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// What goes over the wire is CloudEvents to others too, alone and in a batch; and
// what their library writes is read here.
func TestOthersReadOurEvents(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	m := &message.Message{
		ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"a\"\n", "é"}, Expires: now.Add(time.Hour),
		ID: uuid.Must(uuid.NewV7()), FromNode: "central", Time: now, Place: message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 7},
		CausationID: uuid.Must(uuid.NewV7()),
	}
	b, err := m.Encode("steward")
	if err != nil {
		t.Fatal(err)
	}
	batch, contentType := message.Join([][]byte{b, b})
	if contentType != message.ContentBatch {
		t.Errorf("content type %s", contentType)
	}
	var alone event.Event
	var both []event.Event
	if err := json.Unmarshal(b, &alone); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(batch, &both); err != nil || len(both) != 2 {
		t.Fatalf("%d events, %v", len(both), err)
	}
	for _, e := range append(both, alone) {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		ext := e.Extensions()
		if e.ID() != m.ID.String() || e.Source() != "central" || e.Type() != "steward.v1.CommandACK.Echo" || e.Subject() != "ship1" || !e.Time().Equal(now) ||
			ext["sequence"] != "00000000000000000007" || ext["partitionkey"] != "steward.ship1.CommandACK.Echo" || ext["causationid"] != m.CausationID.String() {
			t.Errorf("read as %s", e)
		}
	}
	theirs, err := json.Marshal(alone)
	if err != nil {
		t.Fatal(err)
	}
	got, err := message.DecodeStored(theirs)
	if err != nil || got.ID != m.ID || got.Place != m.Place || len(got.Data) != 2 || got.Data[0] != m.Data[0] || !got.Expires.Equal(m.Expires) {
		t.Errorf("their bytes %s read as %+v, %v", theirs, got, err)
	}
}
