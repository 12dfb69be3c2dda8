package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// An entry of an inbox whose id holds another message, as an earlier version let it
// happen, cannot be read; and its end is not that message's.
func TestInboxWithBodyOfAnother(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "ship1"), Options{Node: "ship1", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	l := Lane{From: "central", Subject: subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Job"}}
	own := &message.Message{ToNode: "central", Kind: subject.CommandACK, Method: "Job", Data: []string{"own"}}
	db.Fresh(own, time.Now())
	if err := db.Accept(t.Context(), []*message.Message{own}, false); err != nil {
		t.Fatal(err)
	}
	place := message.Place{Epoch: uuid.Must(uuid.NewV7()), Seq: 1}
	err = db.w.do(func(tx *bolt.Tx) error {
		queue, err := tx.Bucket(bucketInbox).CreateBucketIfNotExists([]byte(l.Key()))
		if err != nil {
			return err
		}
		key := placeKey(place)
		return queue.Put(key, pending{id: own.ID, received: time.Now()}.encode(key))
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	work, err := db.Inbox(l, message.Place{}, 9)
	if err != nil || len(work) != 1 || work[0].Message != nil || work[0].Err == nil {
		t.Fatalf("inbox: %+v, %v", work, err)
	}
	if err := db.Finish(l, []Finished{{Work: work[0], Result: message.Result{Outcome: ack.Unknown}}}); err != nil {
		t.Fatal(err)
	}
	if r, err := db.Record(own.ID); err != nil || r.State != Waiting || r.Incoming {
		t.Errorf("the other message is %+v, %v", r, err)
	}
}

// A fence that no clock gives, as an earlier version kept it, counts as none.
func TestUnbelievedFence(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "ship1"), Options{Node: "ship1", MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	key, max := []byte("central"), uuid.Max
	if err := db.w.do(func(tx *bolt.Tx) error { return tx.Bucket(bucketFences).Put(key, seal(key, max[:])) }, nil); err != nil {
		t.Fatal(err)
	}
	to := subject.Subject{Prefix: subject.Prefix, Node: "ship1", Kind: subject.CommandACK, Method: "Job"}
	got, err := db.Receive(Batch{Subject: to, From: "central", For: db.ID(), Epoch: uuid.Must(uuid.NewV7())})
	if err != nil || got.Replies[0].Refused != "" {
		t.Errorf("%+v, %v", got, err)
	}
}
