package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
)

// The files of a node in which bits flip. Those that users or other programs write
// or read, such as log files and results, have no checksum.
const (
	fileJournal = "journal" // of a receiver
	fileOpening = "opening" // the note of the journal's last opening
	fileRuns    = "runs"    // what is noted of a command that runs
	fileClaims  = "claims"  // a submitted file that is being taken
)

// anyFile chooses one of a node, and the fail point at which there is one.
func anyFile(rng *rand.Rand, node string) (file string, at failpoint.Step) {
	if node == central {
		if rng.IntN(8) == 0 {
			return fileOpening, ""
		}
		return fileClaims, []failpoint.Step{failpoint.Claimed, failpoint.Claimed, failpoint.FileTaken}[rng.IntN(3)]
	}
	switch rng.IntN(4) {
	case 0:
		return fileJournal, ""
	case 1:
		return fileOpening, ""
	}
	return fileRuns, []failpoint.Step{failpoint.Prepared, failpoint.Started, failpoint.Ran, failpoint.Finishing}[rng.IntN(4)]
}

// flip changes single bits of a file of n, anywhere in it. Where there is none,
// nothing happens.
func (r *round) flip(n *node, file string, rng *rand.Rand) error {
	paths := []string{n.journal()}
	var err error
	switch file {
	case fileOpening:
		paths[0] += ".opening"
	case fileRuns:
		paths, err = filepath.Glob(filepath.Join(n.dir, "runs", "????????-*"))
	case fileClaims:
		paths, err = filepath.Glob(filepath.Join(n.dir, "claims", "*"))
	}
	if err != nil || len(paths) == 0 {
		return err
	}
	path := paths[rng.IntN(len(paths))]
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(b) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	changed := slices.Clone(b)
	bits := 1 + rng.IntN(8)
	for range bits {
		changed[anyByte(rng, b)] ^= 1 << rng.IntN(8)
	}
	if file == fileClaims {
		r.spoil(b)
	}
	if err := overwrite(path, changed); err != nil {
		return err
	}
	n.out(event{Node: n.name, What: faultFlip + " " + file, At: time.Now(), Bits: bits, Of: filepath.Base(path)})
	if file == fileJournal {
		n.mu.Lock()
		n.flipped = true
		n.mu.Unlock()
	}
	return nil
}

// spared finds in a submission the name of whom it is for: a message to somebody
// who does not exist waits for ever, as it has to; and paths, for we want no other file.
var spared = regexp.MustCompile(`"toNode":"[^"]*"|"/[^"]*"`)

// anyByte is a place in b that is not spared.
func anyByte(rng *rand.Rand, b []byte) int {
	spans := spared.FindAllIndex(b, -1)
	for {
		at := rng.IntN(len(b))
		if !slices.ContainsFunc(spans, func(n []int) bool { return n[0] <= at && at < n[1] }) {
			return at
		}
	}
}

func overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Sync(), f.Close())
}

var orderKey = regexp.MustCompile(`r[0-9]+-[0-9]+-[0-9]+`)

// spoil notes which orders stand in a text that is going to change: they say
// something else then, or nothing.
func (r *round) spoil(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range orderKey.FindAllString(string(b), -1) {
		r.spoiled[key] = true
	}
}

// unlike reports whether a message may be none of the orders because bits of its
// submission were flipped.
func (j *judgement) unlike(key string) bool {
	return j.spoiled[key] || len(j.spoiled) > 0 && j.orders[key] == nil
}

// flippedRun reports whether bits of what was noted of the run of id were flipped.
func (j *judgement) flippedRun(id string) bool {
	return slices.ContainsFunc(j.events, func(e event) bool {
		return e.What == faultFlip+" "+fileRuns && strings.HasPrefix(e.Of, id)
	})
}
