package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/internal/crashfs"
)

// The ways in which a disk fails.
const (
	diskWrite    = "write"    // EIO of writes
	diskSync     = "sync"     // EIO of fsync, which drops what it was to bring to the disk
	diskFull     = "full"     // ENOSPC
	diskSmall    = "small"    // the same, when it has grown by up to a megabyte
	diskReadOnly = "readonly" // as remounted after an error
)

var (
	diskModes  = []string{diskWrite, diskSync, diskFull, diskSmall, diskReadOnly}
	powerModes = []crashfs.Mode{crashfs.Lost, crashfs.Torn, crashfs.Strict}
)

func diskFault(how string, nth int) crashfs.Fault {
	switch how {
	case diskSmall:
		return crashfs.Fault{Room: 1 + int64(nth)}
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
func canMount(ctx context.Context, dir string) error {
	at, err := os.MkdirTemp(dir, "mount-")
	if err != nil {
		return err
	}
	defer os.Remove(at)
	unmount, err := crashfs.New(crashfs.Lost).Mount(at)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "unshare", "--mount", "mount", "--bind", "/proc/version", bootID).CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("a boot id of ours: %w: %s", err, out), unmount())
	}
	return unmount()
}

// machine is what a node runs on: it has power, and a disk that forgets what was
// not synced. The zero machine is the one that we run on, which keeps its power.
type machine struct {
	disk    *crashfs.Disk
	unmount func() error
	effects string // by which its commands are known
	runs    string // by which its runners are known
	boot    string // file with the id of the present boot
	rng     *rand.Rand
}

// life tells one time with power from another.
func (m *machine) life() int {
	if m.disk == nil {
		return 0
	}
	return m.disk.Life()
}

// cut takes the power at this moment. The processes must be killed before they
// can see it: kill is called while the disk stands still.
func (m *machine) cut(kill func()) {
	m.disk.Freeze()
	kill()
	m.disk.Off(m.rng)
}

// reboot gives the power back, when the node is gone and before anything starts.
// Its runners and commands died with the power.
func (m *machine) reboot() error {
	for of := m.ofMachine(); len(of) > 0; of = m.ofMachine() {
		for _, p := range of {
			_ = syscall.Kill(p, syscall.SIGKILL) // it may have ended
		}
		time.Sleep(time.Millisecond)
	}
	m.disk.On()
	return os.WriteFile(m.boot, fmt.Appendln(nil, uuid.New()), 0o600)
}

// ofMachine lists the runners and commands that are left.
func (m *machine) ofMachine() []int {
	return processes("\x00"+m.runs+"\x00", "\x00effect\x00"+m.effects+"\x00")
}

// processes lists those with one of the texts in their arguments.
func processes(texts ...string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		pid, e := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err == nil && e == nil && slices.ContainsFunc(texts, func(t string) bool { return bytes.Contains(b, []byte(t)) }) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// onMachine is how to run args where the id of the boot is the machine's.
func (m *machine) onMachine(args []string) []string {
	if m.disk == nil {
		return args
	}
	const script = `mount --bind "$1" ` + bootID + ` && shift && exec "$@"`
	return append([]string{"unshare", "--mount", "sh", "-c", script, "sh", m.boot}, args...)
}

const bootID = "/proc/sys/kernel/random/boot_id"

// give puts the folder of n on a disk of its own.
func (n *node) give(mode crashfs.Mode, effects string, seed uint64) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	m := machine{disk: crashfs.New(mode), effects: effects, runs: filepath.Join(n.dir, "runs"), boot: n.log + ".boot", rng: rand.New(rand.NewPCG(seed, 2))}
	var err error
	if m.unmount, err = m.disk.Mount(n.dir); err != nil {
		return fmt.Errorf("a disk for %s: %w", n.name, err)
	}
	n.machine = m
	return n.reboot()
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
