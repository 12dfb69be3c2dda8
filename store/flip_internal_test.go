package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// usedJournal is a journal with a bit of everything: queues with pages of their own
// and within their bucket, a message that needs many pages, free pages, history,
// notes, peers and failures. It is as it was closed, and as a crash leaves it.
func usedJournal(t testing.TB) (closed, crashed []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	db, err := Open(path, Options{Node: "central", MinFree: 1, HistoryCount: 60})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		ms := make([]*message.Message, 5)
		for j := range ms {
			ms[j] = &message.Message{ToNode: fmt.Sprint("ship", j), Kind: subject.CommandACK, Method: "Echo", Data: []string{strings.Repeat("x", 10+i)}}
			if i == 20 && j == 0 {
				ms[j].Data[0] = strings.Repeat("long", 20_000)
			}
			if j < 3 { // a long queue
				ms[j].ToNode = "ship0"
			}
			db.Fresh(ms[j], time.Now())
		}
		must(db.Accept(t.Context(), ms, false, Note{Key: fmt.Sprint("k", i), Value: []byte("v")}))
		if i%2 == 0 {
			_, err := db.GiveUp(ms[0].Subject(subject.Prefix), []message.Place{ms[0].Place, ms[1].Place, ms[2].Place}, ack.Cancelled, "for the test", func(message.Place) int { return 0 })
			must(err)
		}
		must(db.PutFailure(fmt.Sprint("failure ", i), fmt.Appendf(nil, `{"last": %q}`, time.Now().Format(time.RFC3339))))
		must(db.PutPeer(Peer{Name: fmt.Sprint("ship", i)}))
		_, err := db.Receive(fromAway(t, db.ID(), i))
		must(err)
	}
	_, err = db.Prune(time.Now())
	must(err)
	must(db.PutFailure("last", []byte("{}")))
	crashed, err = os.ReadFile(path)
	must(err)
	must(db.Close())
	closed, err = os.ReadFile(path)
	must(err)
	return closed, crashed
}

// fromAway is a batch of one command, of one of four senders.
func fromAway(t testing.TB, to uuid.UUID, i int) Batch {
	t.Helper()
	return batchOf(t, to, away(fmt.Sprint("away", i%4), i+1))
}

// everything is each record of the journal at path, by the names of its buckets.
func everything(path string) (all map[string]string, err error) {
	b, err := openFile(path, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	all = map[string]string{}
	var read func(within string, b *bolt.Bucket) error
	read = func(within string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			name := within + "/" + string(k)
			if v == nil {
				all[name] = "bucket"
				return read(name, b.Bucket(k))
			}
			all[name] = string(v)
			return nil
		})
	}
	return all, b.View(func(tx *bolt.Tx) error {
		if err := verifyEnds(tx); err != nil {
			return err
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return read(string(name), b) })
	})
}

// TestBitFlips turns single bits of a journal: that is refused, or it does not
// matter, now or to what is written afterwards. No record is silently other or gone.
func TestBitFlips(t *testing.T) {
	closed, crashed := usedJournal(t)
	for name, good := range map[string][]byte{"closed": closed, "crashed": crashed} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			write(t, path, good)
			want, err := everything(path)
			if err != nil {
				t.Fatal(err)
			}
			h, err := newestHead(bytes.NewReader(good), int64(len(good)))
			if err != nil {
				t.Fatal(err)
			}
			refused, bits := 0, interesting(h)
			for i, bit := range bits {
				patch(t, path, bit/8, good[bit/8]^1<<(bit%8))
				got, err := everything(path)
				switch {
				case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNewer):
					refused++
				case err != nil || !reflect.DeepEqual(got, want):
					t.Errorf("bit %d of byte %d: %d records for %d, %v", bit%8, bit/8, len(got), len(want), err)
				case i%100 == 0:
					useOn(t, path)
					write(t, path, good)
				}
				patch(t, path, bit/8, good[bit/8])
			}
			t.Logf("%d of %d flips refused, the others harmless", refused, len(bits))
		})
	}
}

// patch overwrites one byte of the file at path.
func patch(t *testing.T, path string, at int, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// interesting bits of a journal: some of each part of the heads, of what each page
// says of itself and of its first entries, and some anywhere.
func interesting(h head) (bits []int) {
	rng := rand.New(rand.NewPCG(1, 2))
	for id := range int(h.pages) {
		of := 20
		if id < 2 {
			of = 300
		}
		for range of {
			bits = append(bits, id*int(h.size)*8+rng.IntN(8*(headAt+headLen)))
		}
	}
	for range 400 {
		bits = append(bits, rng.IntN(int(h.pages)*int(h.size)*8))
	}
	return bits
}

// useOn goes on with a journal in which a flipped bit was found harmless.
func useOn(t *testing.T, path string) {
	t.Helper()
	db, err := Open(path, Options{Node: "central", MinFree: 1, HistoryCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := &message.Message{ToNode: "ship0", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
	db.Fresh(m, time.Now())
	_, pruned := db.Prune(time.Now())
	if err := errors.Join(db.Accept(t.Context(), []*message.Message{m}, false), pruned, db.Close()); err != nil {
		t.Error(err)
	}
	if problems, err := Check(path); err != nil || len(problems) > 0 {
		t.Errorf("afterwards: %q, %v", problems, err)
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
