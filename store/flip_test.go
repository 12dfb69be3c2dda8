package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// TestBitFlips turns single bits of a journal: it refuses to open, or the flip
// did not matter; no record is silently other or gone.
func TestBitFlips(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	db, err := store.Open(path, store.Options{Node: "central"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{fmt.Sprint("message ", i)}}
		db.Fresh(m, time.Now())
		if err := db.Accept(t.Context(), []*message.Message{m}, false, store.Note{Key: fmt.Sprint("k", i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	want := contents(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for i := range 200 {
		bit := rng.IntN(len(good) * 8)
		b := append([]byte(nil), good...)
		b[bit/8] ^= 1 << (bit % 8)
		path := filepath.Join(dir, fmt.Sprint("flip", i)) // a damaged file may stay locked until the process ends
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(path, store.Options{Node: "central"})
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) && !errors.Is(err, store.ErrForeign) {
				t.Errorf("flip %d at bit %d: %v", i, bit, err)
			}
			refused++
			continue
		}
		if got := contents(t, db); !reflect.DeepEqual(got, want) {
			t.Errorf("flip %d at bit %d of byte %d: %d records read back other than they were", i, bit%8, bit/8, len(want))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 200 flips refused, the others harmless", refused)
}

func contents(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	all := map[string]string{"counts": fmt.Sprint(db.Counts())}
	list, err := db.Records(store.Filter{Limit: 1000})
	if err != nil {
		all["error"] = err.Error()
	}
	for _, r := range list {
		all[r.ID] = fmt.Sprint(r.ToNode, r.Method, r.Data, r.State, r.Seq)
	}
	for i := range 60 {
		v, err := db.Note(fmt.Sprint("k", i))
		all[fmt.Sprint("k", i)] = fmt.Sprint(string(v), err)
	}
	return all
}
