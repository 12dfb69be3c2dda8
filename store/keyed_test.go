package store_test

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// A submission is accepted once under its key, also across a restart and when it
// comes twice at a time; its repeats get the first one's messages.
func TestAcceptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	db := openJournal(t, path, store.Options{})
	submit := func(s store.Submission) (accepted, earlier []uuid.UUID, err error) {
		ms := make([]*message.Message, 2)
		for i := range ms {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
			ms[i] = m
			db.Fresh(m, time.Now())
			accepted = append(accepted, m.ID)
		}
		earlier, err = db.AcceptOnce(t.Context(), s, ms)
		return accepted, earlier, err
	}
	s := store.Submission{Key: uuid.Must(uuid.NewV7()), Sum: sha256.Sum256([]byte("a"))}
	first, earlier, err := submit(s)
	if err != nil || earlier != nil {
		t.Fatal(earlier, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openJournal(t, path, store.Options{})
	defer db.Close() //nolint:errcheck // what counts was read
	if _, earlier, err := submit(s); err != nil || !slices.Equal(earlier, first) {
		t.Errorf("a repeat: %v, %v; the first was %v", earlier, err, first)
	}
	other := s
	other.Sum[0]++
	if _, _, err := submit(other); !errors.Is(err, store.ErrKeyUsed) {
		t.Errorf("another text under the same key: %v", err)
	}
	for _, key := range []uuid.UUID{uuid.New(), uuid.Nil, uuid.MustParse("01000000-0000-7000-8000-000000000000")} {
		if _, _, err := submit(store.Submission{Key: key}); !errors.Is(err, store.ErrKey) {
			t.Errorf("key %s: %v", key, err)
		}
	}
	s.Key = uuid.Must(uuid.NewV7())
	results := make(chan []uuid.UUID, 20)
	for range cap(results) {
		go func() {
			accepted, earlier, err := submit(s)
			if err != nil {
				t.Error(err)
			}
			if earlier != nil {
				accepted = earlier
			}
			results <- accepted
		}()
	}
	want := <-results
	for range cap(results) - 1 {
		if got := <-results; !slices.Equal(got, want) {
			t.Errorf("accepted as %v and as %v", got, want)
		}
	}
	if n := db.Counts().Waiting; n != 4 {
		t.Errorf("%d messages wait, of two submissions of 2", n)
	}
}
