package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/steward-bus/steward/internal/crashfs"
)

// The ways in which a disk fails.
const (
	diskWrite    = "write"    // EIO of writes
	diskSync     = "sync"     // EIO of fsync, which drops what it was to bring to the disk
	diskFull     = "full"     // ENOSPC
	diskReadOnly = "readonly" // as remounted after an error
)

var (
	diskModes  = []string{diskWrite, diskSync, diskFull, diskReadOnly}
	powerModes = []crashfs.Mode{crashfs.Lost, crashfs.Torn, crashfs.Strict}
)

func diskFault(how string) crashfs.Fault {
	switch how {
	case diskWrite:
		return crashfs.Fault{Write: syscall.EIO}
	case diskSync:
		return crashfs.Fault{Sync: syscall.EIO}
	case diskFull:
		return crashfs.Fault{Write: syscall.ENOSPC, Names: syscall.ENOSPC, Full: true}
	}
	return crashfs.Fault{Write: syscall.EROFS, Names: syscall.EROFS}
}

// canMount says why disks that lose their power cannot be played here, or nil.
func canMount(dir string) error {
	at, err := os.MkdirTemp(dir, "mount-")
	if err != nil {
		return err
	}
	defer os.Remove(at)
	unmount, err := crashfs.New(crashfs.Lost).Mount(at)
	if err != nil {
		return err
	}
	return unmount()
}

// machine is what a node runs on: it has power, and a disk that forgets what was
// not synced. The zero machine is the one that we run on, which keeps its power.
type machine struct {
	disk    *crashfs.Disk
	unmount func() error
	effects string // by which its commands are known
	rng     *rand.Rand
}

// cut takes the power at this moment. The processes must be killed before they
// can see it: kill is called while the disk stands still.
func (m *machine) cut(kill func()) {
	m.disk.Freeze()
	kill()
	m.disk.Off(m.rng)
}

// boot gives the power back, when the node is gone and before anything starts. Its
// commands died with the power.
func (m *machine) boot() {
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, c := range commands {
		b, err := os.ReadFile(c)
		if pid, e := strconv.Atoi(filepath.Base(filepath.Dir(c))); err == nil && e == nil && bytes.Contains(b, []byte("\x00effect\x00"+m.effects+"\x00")) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
	m.disk.On()
}

// give puts the folder of n on a disk of its own.
func (n *node) give(mode crashfs.Mode, effects string, seed uint64) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	m := machine{disk: crashfs.New(mode), effects: effects, rng: rand.New(rand.NewPCG(seed, 2))}
	var err error
	if m.unmount, err = m.disk.Mount(n.dir); err != nil {
		return fmt.Errorf("a disk for %s: %w", n.name, err)
	}
	n.machine = m
	return nil
}

// takeBack unmounts the disk, if there is one.
func (n *node) takeBack() {
	for tries := 0; n.disk != nil && tries < 50; tries++ {
		if n.unmount() == nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // a command may stand in it still
	}
}

// powerOff ends the process by taking the power of its machine.
func (n *node) powerOff(then next) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil || n.why != "" {
		return
	}
	n.why, n.then = faultPower, then
	n.cut(func() { _ = n.process.Kill() })
}
