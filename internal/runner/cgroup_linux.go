package runner

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// cgroup is a control group (version 2) with one command in it: it holds all that
// the command started, whatever session that is in. The nil one holds nothing.
type cgroup struct {
	dir    string
	f      *os.File
	events *os.File
	killed bool
}

// join lets cmd begin its life in g.
func (g *cgroup) join(cmd *exec.Cmd) {
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(g.f.Fd())
}

// populated reports whether a process is left in g.
func (g *cgroup) populated() bool {
	if g == nil {
		return false
	}
	b := make([]byte, 128)
	n, _ := g.events.ReadAt(b, 0)
	return bytes.Contains(b[:n], []byte("populated 1"))
}

// terminate asks to end what left the process group that pid leads.
func (g *cgroup) terminate(leader int) {
	if g == nil {
		return
	}
	b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil {
		return // what does not hear it is killed
	}
	for _, f := range bytes.Fields(b) {
		pid, err := strconv.Atoi(string(f))
		if err != nil || pid <= 0 {
			continue
		}
		if pgid, err := syscall.Getpgid(pid); err == nil && pgid != leader {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// kill ends all of g at once.
func (g *cgroup) kill() {
	if g != nil {
		g.killed = true
		_ = os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0) // what survives it shows in what follows
	}
}

// cgroups lends control groups, below the one that this process is in. An empty
// one is lent again: to make and to remove one costs as much as a short command.
// The nil one has none to lend.
type cgroups struct {
	prefix string // of their folders

	mu   sync.Mutex
	n    int
	idle []*cgroup // they may hold what a command left running
	off  bool
}

const (
	groupPrefix = "steward."
	idleGroups  = 64
)

// newCgroups is nil where control groups cannot be used.
func newCgroups(self string) *cgroups {
	base, err := ownCgroup()
	if err != nil {
		return nil
	}
	sweepCgroups(base)
	c := &cgroups{prefix: filepath.Join(base, groupPrefix+self+".")}
	g, err := c.make()
	if err != nil {
		return nil
	}
	if !works(g) {
		c.drop(g)
		return nil
	}
	c.idle = []*cgroup{g}
	return c
}

// probe is an argument with which the runner does nothing.
const probe = "probe"

// works reports whether a process can be born into g, and live: not so where the
// kernel is too old, a sandbox forbids it, or our own group was once killed.
func works(g *cgroup) bool {
	if _, err := os.Stat(filepath.Join(g.dir, "cgroup.kill")); err != nil {
		return false
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", Verb, probe)
	ownGroup(cmd)
	g.join(cmd)
	return cmd.Run() == nil
}

var errNoCgroup = errors.New("this process is in no control group of version 2")

// ownCgroup is the folder of the control group that this process is in.
func ownCgroup() (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	return cgroupFolder(string(own), string(mounts))
}

// cgroupFolder finds the folder by /proc/self/cgroup, where version 2 has the
// line 0::<path>, and mountinfo: id, parent, device, root, mount point, options,
// and after a dash the type.
func cgroupFolder(own, mounts string) (string, error) {
	path := ""
	for line := range strings.Lines(own) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	for line := range strings.Lines(mounts) {
		fields, kind, _ := strings.Cut(line, " - ")
		f := strings.Fields(fields)
		if !strings.HasPrefix(kind, "cgroup2 ") || len(f) < 5 {
			continue
		}
		below, err := filepath.Rel(f[3], path)
		if err == nil && path != "" && !strings.HasPrefix(path, "/..") && filepath.IsLocal(below) {
			return filepath.Join(f[4], below), nil
		}
	}
	return "", errNoCgroup
}

// sweepCgroups removes what dead runners had no way to: those in use stay.
func sweepCgroups(base string) {
	found, _ := filepath.Glob(filepath.Join(base, groupPrefix+"*"))
	for _, dir := range found {
		who := strings.TrimPrefix(filepath.Base(dir), groupPrefix)
		if i := strings.LastIndexByte(who, '.'); i > 0 && !alive(who[:i]) {
			_ = os.Remove(dir)
		}
	}
}

func (c *cgroups) make() (*cgroup, error) {
	c.n++
	dir := c.prefix + strconv.Itoa(c.n)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		f.Close()
		return nil, err
	}
	return &cgroup{dir: dir, f: f, events: events}, nil
}

// take lends an empty control group, or nil.
func (c *cgroups) take() *cgroup {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return nil
	}
	for i, g := range c.idle {
		if !g.populated() {
			c.idle = append(c.idle[:i], c.idle[i+1:]...)
			return g
		}
	}
	g, err := c.make()
	if err != nil {
		return nil
	}
	return g
}

// give takes g back. One that was killed is of no more use: Linux kills at once
// what is born into it later.
func (c *cgroups) give(g *cgroup) {
	if c == nil || g == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.killed {
		c.drop(g)
		return
	}
	c.idle = append(c.idle, g)
	if len(c.idle) > idleGroups {
		c.drop(c.idle[0])
		c.idle = c.idle[1:]
	}
}

// disable ends the use of control groups: the kernel does not let us.
func (c *cgroups) disable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
}

func (c *cgroups) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.idle {
		c.drop(g)
	}
	c.idle = nil
}

// drop removes g; it stays while a command's daemon lives in it, until a later
// runner finds it empty.
func (c *cgroups) drop(g *cgroup) {
	g.f.Close()
	g.events.Close()
	os.Remove(g.dir)
}
