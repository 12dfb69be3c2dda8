package submit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/failpoint"
)

// Results is a folder with one file for each message that came by file. The
// journal has it all, so nothing is fsync'ed here. Methods may be called at once.
type Results struct{ Dir string }

// partPrefix begins the name of a file that is being written.
const partPrefix = ".part-"

// Put writes v as <id>.json; a reader sees the old file or the new one, never half.
func (r Results) Put(id string, v any) error {
	if id == "" || strings.Trim(strings.ToLower(id), "0123456789abcdefghijklmnopqrstuvwxyz-_") != "" {
		return fmt.Errorf("write a result: %q is no id: want letters, digits, - and _", id)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write the result of %s: %w", id, err)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return fmt.Errorf("write the result of %s: %w", id, err)
	}
	f, err := os.CreateTemp(r.Dir, partPrefix+"*")
	if err != nil {
		return fmt.Errorf("write the result of %s: %w", id, err)
	}
	_, err = f.Write(append(b, '\n'))
	failpoint.Hit(failpoint.ResultPart)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(r.Dir, id+".json"))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write the result of %s: %w", id, err)
	}
	failpoint.Hit(failpoint.ResultThere)
	return nil
}

// Written tells when the file of each id was written.
func (r Results) Written() (map[string]time.Time, error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the results: %w", err)
	}
	written := make(map[string]time.Time, len(entries))
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if fi, err := e.Info(); err == nil {
				written[id] = fi.ModTime()
			}
		}
	}
	return written, nil
}

// Prune deletes the files written longest ago until at most maxFiles are left,
// and what a crash left half-written.
func (r Results) Prune(maxFiles int) error {
	_, err := prune(r.Dir, maxFiles, func(name string) bool { return strings.HasSuffix(name, ".json") })
	if err != nil {
		return fmt.Errorf("prune the results: %w", err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
