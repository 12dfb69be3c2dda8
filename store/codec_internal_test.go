package store

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// FuzzRecords seals arbitrary payloads, so that the parsers behind the checksum
// see them: they answer or refuse, but never panic.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("key"), []byte(nil))
	f.Add([]byte("key"), []byte{statusVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(make([]byte, 16), make([]byte, 64))
	f.Fuzz(func(t *testing.T, key, payload []byte) {
		v := seal(key, payload)
		_, _ = decodeBody(key, v)
		_, _ = decodeStatus(key, v)
		_, _ = decodeSlot(key, v)
		_, _ = decodeRoad(key, v)
		_, _ = decodeLane(key, v)
		_, _ = decodePending(key, v)
		v[len(v)-1] ^= 1
		if _, err := decodeSlot(key, v); err == nil {
			t.Fatal("a flipped bit passed")
		}
	})
}

// TestRecordsOfSchema1: a lane said between which places an ack was given, and not
// which of them it was; a road did not say whether it was shut.
func TestRecordsOfSchema1(t *testing.T) {
	key, epoch := []byte("key"), uuid.Must(uuid.NewV7())
	at := func(seq uint64) message.Place { return message.Place{Epoch: epoch, Seq: seq} }
	old := binary.AppendUvarint(appendPlace(nil, at(9)), 1)
	old = appendString(appendString(appendPlace(appendPlace(old, at(2)), at(9)), "rejected"), "why")
	why := ack.Ack{Verdict: ack.Rejected, Reason: "why"}
	l, err := decodeLane(key, seal(key, old))
	if err != nil || l.mark != at(9) || !slices.Equal(l.runs, []run{{at(2), at(2), why}, {at(9), at(9), why}}) {
		t.Errorf("%+v, %v", l, err)
	}
	store := uuid.New()
	r, err := decodeRoad(key, seal(key, append(appendPlace(placeKey(at(3)), at(2)), store[:]...)))
	if want := (road{acked: at(3), settled: at(2), store: store}); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestLaneOfABatch: single places take a few bytes each, and come back as they were.
func TestLaneOfABatch(t *testing.T) {
	key, epochs := []byte("key"), []uuid.UUID{uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())}
	var l lane
	for i, e := range epochs {
		for seq := uint64(1); seq <= 512; seq += uint64(2 + i) {
			p := message.Place{Epoch: e, Seq: seq}
			l.mark, l.runs = p, append(l.runs, run{p, message.Place{Epoch: e, Seq: seq + uint64(i)}, ack.Ack{Verdict: ack.Accepted}})
		}
	}
	l.runs[7].ack = ack.Ack{Verdict: ack.Rejected, Reason: "why"}
	v := l.encode(key)
	got, err := decodeLane(key, v)
	if err != nil || got.mark != l.mark || !slices.Equal(got.runs, l.runs) {
		t.Errorf("%+v, %v", got, err)
	}
	if limit := 4*len(l.runs) + 200; len(v) > limit {
		t.Errorf("%d bytes for %d runs", len(v), len(l.runs))
	}
}
