package submit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/submit"
)

// What was refused is bounded: the oldest goes first, with its reason.
func TestPruneRejected(t *testing.T) {
	dir := t.TempDir()
	if n, err := submit.PruneRejected(dir, 2); n != 0 || err != nil {
		t.Errorf("nothing was refused yet: %d, %v", n, err)
	}
	rejected := filepath.Join(dir, "rejected")
	if err := os.Mkdir(rejected, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"c.json", "a-inmsg.txt", "b.json", "d.json"} {
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		for _, file := range []string{name, name + ".reason"} {
			path := filepath.Join(rejected, file)
			if err := os.WriteFile(path, fmt.Append(nil, i), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := submit.PruneRejected(dir, 2); n != 2 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	entries, err := os.ReadDir(rejected)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, []string{"b.json", "b.json.reason", "d.json", "d.json.reason"}) {
		t.Errorf("left: %v", left)
	}
}
