package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/steward-bus/steward/message"
)

// Check reads the whole journal of a stopped node: its pages, every checksum,
// and whether messages and queues agree. Each problem is a line for the operator.
func Check(path string) (problems []string, err error) {
	f, err := locked(path, true)
	if err != nil {
		return nil, fmt.Errorf("journal check: %w", err)
	}
	problems, err = verifyFile(f)
	if err != nil || len(problems) > 0 {
		if _ = f.Close(); errors.Is(err, ErrCorrupt) {
			return []string{plain(err)}, nil
		}
		return problems, err
	}
	b, err := openSound(f, true)
	if err != nil {
		return nil, fmt.Errorf("journal check: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	err = b.View(func(tx *bolt.Tx) error {
		problems = append(checkQueues(tx), checkMessages(tx)...)
		return nil
	})
	return problems, err
}

// checkQueues lists what is queued and should not be: what does not exist, belongs
// elsewhere, or has its outcome.
func checkQueues(tx *bolt.Tx) (problems []string) {
	for _, name := range [][]byte{bucketOutbox, bucketInbox} {
		queues := tx.Bucket(name)
		_ = queues.ForEachBucket(func(queue []byte) error { // ends without an error, like the one within
			return queues.Bucket(queue).ForEach(func(k, v []byte) error {
				if err := queued(tx, name, queue, k, v); err != nil {
					problems = append(problems, plain(err))
				} else if st, _, err := getStatus(tx, uuid.UUID(v[4:20])); err != nil || st.final() {
					problems = append(problems, fmt.Sprintf("%s of %s: message %x is queued and has ended", name, queue, v[4:20]))
				}
				return nil
			})
		})
	}
	return problems
}

// checkMessages lists own messages that nobody cares for: they have no outcome, and
// wait nowhere. A result has no outcome of its own.
func checkMessages(tx *bolt.Tx) (problems []string) {
	out := tx.Bucket(bucketOutbox)
	_ = tx.Bucket(bucketMessages).ForEach(func(id, v []byte) error { // ends without an error
		b, err := decodeBody(id, v)
		if err == nil && (b.incoming || strings.HasSuffix(b.subject, "."+message.MethodResult)) {
			return nil
		}
		st, _, serr := getStatus(tx, uuid.UUID(id))
		if err = errors.Join(err, serr); err != nil {
			problems = append(problems, plain(err))
			return nil
		}
		queue := out.Bucket([]byte(b.subject))
		if st.state != Ended && (queue == nil || queue.Get(placeKey(b.place)) == nil) {
			problems = append(problems, fmt.Sprintf("message %x has no outcome, and waits nowhere", id))
		}
		return nil
	})
	return problems
}

// plain is a problem in a list of such.
func plain(err error) string {
	return strings.TrimPrefix(err.Error(), ErrCorrupt.Error()+": ")
}
