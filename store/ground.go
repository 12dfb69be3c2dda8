package store

import (
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The file is made ready in chunks, after groups of more operations than
// groundGroup: only they write so much that it pays.
const (
	groundChunk = 4 << 20
	groundGroup = 8
)

// ground writes zeros where the journal is about to grow. The first write to a
// block of a sparse file makes the file system find a place for it and keep that
// in its own journal, which doubles the time of an fsync. It is the writer's
// alone, between two transactions, and touches no page that was ever in use.
type ground struct {
	db    *bolt.DB
	file  *os.File
	zeros []byte
	ready int64 // bytes of the file that have their blocks
}

func newGround(db *bolt.DB) (*ground, error) {
	f, err := os.OpenFile(db.Path(), os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("prepare the growth of the journal: %w", err)
	}
	return &ground{db: db, file: f}, nil
}

// prepare has blocks ready beyond the pages in use, as far as the file reaches.
// What fails here is only slower.
func (g *ground) prepare() {
	var used int64
	err := g.db.View(func(tx *bolt.Tx) error {
		used = tx.Size()
		return nil
	})
	if err != nil || used+groundChunk/2 < g.ready {
		return
	}
	fi, err := g.file.Stat()
	if err != nil {
		return
	}
	from, to := max(g.ready, used), min(used+groundChunk, fi.Size())
	if to <= from {
		return
	}
	if g.zeros == nil {
		g.zeros = make([]byte, groundChunk)
	}
	if n, err := g.file.WriteAt(g.zeros[:to-from], from); err == nil {
		g.ready = from + int64(n)
	}
}
