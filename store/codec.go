package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
)

// Every record on disk is
//
//	+---------+---------+
//	| crc32c  | payload |
//	| 4, LE   |         |
//	+---------+---------+
//
// with the checksum taken over key and payload, because bbolt has none for data
// and a flipped bit in a key is as bad as one in a value.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(key, payload []byte) []byte {
	v := make([]byte, 4, 4+len(payload))
	v = append(v, payload...)
	binary.LittleEndian.PutUint32(v, sum(key, payload))
	return v
}

func unseal(bucket, key, v []byte) ([]byte, error) {
	if len(v) < 4 || binary.LittleEndian.Uint32(v) != sum(key, v[4:]) {
		return nil, fmt.Errorf("%w: record %x of %s fails its checksum", ErrCorrupt, key, bucket)
	}
	return v[4:], nil
}

func sum(key, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
}

const placeLen = 24

func appendPlace(b []byte, p message.Place) []byte {
	return binary.BigEndian.AppendUint64(append(b, p.Epoch[:]...), p.Seq)
}

func placeKey(p message.Place) []byte { return appendPlace(make([]byte, 0, placeLen), p) }

func readPlace(b []byte) (p message.Place) {
	copy(p.Epoch[:], b[:16])
	p.Seq = binary.BigEndian.Uint64(b[16:24])
	return p
}

// body is the record of a message that never changes: where it belongs, and the
// event as it was accepted or received.
type body struct {
	incoming bool // received, not sent, by this node
	plain    bool // and from a client that is no steward
	byFile   bool // its submitter wants results/<id>.json
	place    message.Place
	subject  string
	event    []byte
}

const (
	flagIncoming = 1 << iota
	flagByFile
	flagPlain
)

func (r body) encode(key []byte) []byte {
	v := append(r.head(len(r.event)), r.event...)
	binary.LittleEndian.PutUint32(v, sum(key, v[4:]))
	return v
}

// head is the record up to the event, with room for one of size bytes.
func (r body) head(size int) []byte {
	v := make([]byte, 4, 4+1+placeLen+binary.MaxVarintLen16+len(r.subject)+size)
	var flags byte
	if r.incoming {
		flags |= flagIncoming
	}
	if r.byFile {
		flags |= flagByFile
	}
	if r.plain {
		flags |= flagPlain
	}
	v = appendPlace(append(v, flags), r.place)
	v = binary.AppendUvarint(v, uint64(len(r.subject)))
	return append(v, r.subject...)
}

// placed gives a body with event, in record, the place at which it was accepted.
func placed(record, key []byte, p message.Place) []byte {
	appendPlace(record[:5], p)
	n, k := binary.Uvarint(record[5+placeLen:])
	message.Stamp(record[5+placeLen+k+int(n):], p)
	binary.LittleEndian.PutUint32(record, sum(key, record[4:]))
	return record
}

// decodeBody reads a body whose event points into v.
func decodeBody(key, v []byte) (r body, err error) {
	p, err := unseal(bucketMessages, key, v)
	if err != nil {
		return r, err
	}
	if len(p) < 1+placeLen+1 {
		return r, fmt.Errorf("%w: message %x is too short", ErrCorrupt, key)
	}
	r.incoming, r.byFile, r.plain = p[0]&flagIncoming != 0, p[0]&flagByFile != 0, p[0]&flagPlain != 0
	r.place = readPlace(p[1:])
	n, k := binary.Uvarint(p[1+placeLen:])
	if rest := p[1+placeLen+max(k, 0):]; k > 0 && n <= uint64(len(rest)) {
		r.subject, r.event = string(rest[:n]), rest[n:]
		return r, nil
	}
	return r, fmt.Errorf("%w: message %x has no subject", ErrCorrupt, key)
}

// status is the record of a message that changes: how far it came. A message
// without one waits in its outbox or inbox, untouched.
type status struct {
	state     State
	outcome   ack.Outcome
	wanted    ack.Outcome // what it becomes if the receiver says that it was given up in time; Unknown if that receiver cannot know
	attempts  uint64
	result    uuid.UUID // the message that carries its result
	said      []byte    // what it says, where it came from the receiver
	delivered time.Time
	started   time.Time
	finished  time.Time
	ended     time.Time
	reason    string
}

func (s status) final() bool { return s.state == Ended && s.outcome != ack.Unknown }

const statusVersion = 1

func (s status) encode(key []byte) []byte {
	v := append(make([]byte, 4, 112+len(s.reason)+len(s.said)), statusVersion)
	for _, x := range []string{string(s.state), string(s.outcome), string(s.wanted), s.reason} {
		v = append(binary.AppendUvarint(v, uint64(len(x))), x...)
	}
	v = binary.AppendUvarint(v, s.attempts)
	v = append(v, s.result[:]...)
	for _, t := range []time.Time{s.delivered, s.started, s.finished, s.ended} {
		var n int64
		if !t.IsZero() {
			n = t.UnixNano()
		}
		v = binary.AppendVarint(v, n)
	}
	v = append(v, s.said...)
	binary.LittleEndian.PutUint32(v, sum(key, v[4:]))
	return v
}

// hasEnded is what decodeStatus says of state and outcome, many times as fast.
func hasEnded(key, v []byte) (ended, unknown bool, err error) {
	p, err := unseal(bucketStates, key, v)
	return bytes.HasPrefix(p, statusEnded), bytes.HasPrefix(p, statusUnknown), err
}

var (
	statusEnded   = append([]byte{statusVersion, byte(len(Ended))}, Ended...)
	statusUnknown = append(append(slices.Clip(statusEnded), byte(len(ack.Unknown))), ack.Unknown...)
)

// decodeStatus reads a status whose said points into v.
func decodeStatus(key, v []byte) (s status, err error) {
	p, err := unseal(bucketStates, key, v)
	if err != nil {
		return s, err
	}
	r := reader{b: p}
	if v := r.byte(); v != statusVersion {
		return s, fmt.Errorf("%w: state %x has version %d", ErrCorrupt, key, v)
	}
	s.state, s.outcome, s.wanted, s.reason = State(r.string()), ack.Outcome(r.string()), ack.Outcome(r.string()), r.string()
	s.attempts = r.uvarint()
	s.result = uuid.UUID(r.take(16))
	s.delivered, s.started, s.finished, s.ended = r.time(), r.time(), r.time(), r.time()
	s.said = r.b
	if r.short {
		return s, fmt.Errorf("%w: state %x is too short", ErrCorrupt, key)
	}
	return s, nil
}

// slot is what an outbox keeps of a message beside its place: enough to decide
// about it without reading it.
type slot struct {
	id         uuid.UUID
	void       bool // given up after an attempt: a void travels in its place
	rerun      bool // onUnknown: rerun
	command    bool // its outcome is a result of its own
	noAck      bool // a NACK kind
	byFile     bool // its submitter wants results/<id>.json
	expires    time.Time
	ackTimeout time.Duration
	retries    uint32
}

const (
	slotVoid = 1 << iota
	slotRerun
	slotCommand
	slotNoAck
	slotByFile
)

func (s slot) encode(key []byte) []byte {
	v := make([]byte, 4, 4+16+1+8+4+4)
	v = append(v, s.id[:]...)
	var flags byte
	for i, on := range [...]bool{s.void, s.rerun, s.command, s.noAck, s.byFile} {
		if on {
			flags |= 1 << i
		}
	}
	v = append(v, flags)
	v = binary.BigEndian.AppendUint64(v, uint64(s.expires.UnixNano()))
	v = binary.BigEndian.AppendUint32(v, uint32(s.ackTimeout.Milliseconds()))
	v = binary.BigEndian.AppendUint32(v, s.retries)
	binary.LittleEndian.PutUint32(v, sum(key, v[4:]))
	return v
}

func decodeSlot(key, v []byte) (s slot, err error) {
	p, err := unseal(bucketOutbox, key, v)
	if err != nil {
		return s, err
	}
	if len(p) != 33 {
		return s, fmt.Errorf("%w: outbox entry %x has %d bytes", ErrCorrupt, key, len(p))
	}
	copy(s.id[:], p)
	f := p[16]
	s.void, s.rerun, s.command, s.noAck = f&slotVoid != 0, f&slotRerun != 0, f&slotCommand != 0, f&slotNoAck != 0
	s.byFile = f&slotByFile != 0
	s.expires = time.Unix(0, int64(binary.BigEndian.Uint64(p[17:])))
	s.ackTimeout = time.Duration(binary.BigEndian.Uint32(p[25:])) * time.Millisecond
	s.retries = binary.BigEndian.Uint32(p[29:])
	return s, nil
}

// road is what a sender keeps of a subject: up to where nothing is left to send,
// up to where the receiver said so, and which receiver store that was. A road is
// shut while it is known that nothing above a place was ever sent; that counts for
// the journal that wrote it, and not for a copy.
type road struct {
	acked   message.Place
	settled message.Place
	store   uuid.UUID
	shutBy  uuid.UUID // Nil: it is open
	shutAt  message.Place
}

func (r road) encode(key []byte) []byte {
	v := append(appendPlace(placeKey(r.acked), r.settled), r.store[:]...)
	if r.shutBy != uuid.Nil {
		v = appendPlace(append(v, r.shutBy[:]...), r.shutAt)
	}
	return seal(key, v)
}

func decodeRoad(key, v []byte) (r road, err error) {
	const open, shut = 2*placeLen + 16, 3*placeLen + 32
	p, err := unseal(bucketRoads, key, v)
	if err == nil && len(p) != open && len(p) != shut {
		err = fmt.Errorf("%w: subject %s has %d bytes", ErrCorrupt, key, len(p))
	}
	if err != nil {
		return r, err
	}
	r.acked, r.settled = readPlace(p), readPlace(p[placeLen:])
	copy(r.store[:], p[2*placeLen:])
	if len(p) == shut {
		copy(r.shutBy[:], p[open:])
		r.shutAt = readPlace(p[open+16:])
	}
	return r, nil
}

// pending is what an inbox keeps of a message beside its place.
type pending struct {
	id       uuid.UUID
	received time.Time
	started  time.Time // zero: no run of it may have begun
	runs     byte      // that were begun in this journal
}

func (p pending) encode(key []byte) []byte {
	v := append(make([]byte, 0, 33), p.id[:]...)
	for _, t := range []time.Time{p.received, p.started} {
		var n int64
		if !t.IsZero() {
			n = t.UnixNano()
		}
		v = binary.BigEndian.AppendUint64(v, uint64(n))
	}
	return seal(key, append(v, p.runs))
}

func decodePending(key, v []byte) (p pending, err error) {
	b, err := unseal(bucketInbox, key, v)
	if err == nil && len(b) != 33 {
		err = fmt.Errorf("%w: inbox entry %x has %d bytes", ErrCorrupt, key, len(b))
	}
	if err != nil {
		return p, err
	}
	r := reader{b: b}
	p.id = uuid.UUID(r.take(16))
	for _, t := range []*time.Time{&p.received, &p.started} {
		if n := int64(binary.BigEndian.Uint64(r.take(8))); n != 0 {
			*t = time.Unix(0, n)
		}
	}
	p.runs = r.byte()
	return p, nil
}
