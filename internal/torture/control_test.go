package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/steward-bus/steward/internal/crashfs"
)

// TestControl: steward loses nothing where names last only by an fsync of their
// folder, also not the folder that it made itself; and the rig finds what is lost by
// who syncs nothing.
func TestControl(t *testing.T) {
	if err := canMount(t.Context(), t.TempDir()); err != nil {
		t.Skipf("no losses of power: %v", err)
	}
	bin := filepath.Join(t.TempDir(), "steward")
	if err := build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &campaign{seed: 1}
	for _, x := range []struct {
		keeper
		loses bool
	}{{stewardKeeper(bin), false}, {jetStreamKeeper(exe, jetShipped), true}} {
		l, err := c.lose(t.Context(), x.keeper, crashfs.Strict, 2, filepath.Join(t.TempDir(), "disk"))
		if err != nil || l.told == 0 || (l.lost > 0) != x.loses {
			t.Errorf("%+v, %v", l, err)
		}
	}
}
