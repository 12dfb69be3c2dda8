package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// fill leaves count messages waiting in the journal of central under dir, for a
// node that is not there.
func fill(dir string, count int) (err error) {
	n, err := steward.New(steward.Config{Name: "central", Dir: filepath.Join(dir, "central"), Central: "central", Headless: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	data := []string{strings.Repeat("x", size)}
	for left := count; left > 0; {
		ms := make([]*message.Message, min(left, 1000))
		for i := range ms {
			ms[i] = &message.Message{ToNode: "ship9", Kind: subject.CommandACK, Method: "Echo", Data: data}
		}
		if err := n.Submit(context.Background(), ms...); err != nil {
			return err
		}
		left -= len(ms)
	}
	return nil
}

// node is a real steward process, as a user runs it.
type node struct {
	bin, data string
	cmd       *exec.Cmd
	ready     time.Duration // from its start until it answers
}

// startNode runs a node on the data folder data, and waits until it answers.
func startNode(bin, name, data string, more ...string) (*node, error) {
	args := append([]string{"run", "--node", name, "--data", data, "--log-level", "error"}, more...)
	n := &node{bin: bin, data: data, cmd: exec.CommandContext(context.Background(), bin, args...)}
	n.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for time.Since(began) < time.Minute {
		if exec.CommandContext(context.Background(), bin, "status", "--data", data, "-o", "json").Run() == nil {
			n.ready = time.Since(began)
			return n, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer", data), n.stop())
}

// memoryOf is a line of a process's status, in MB.
func memoryOf(pid int, field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of a process", field)
}

func (n *node) stop() error {
	return errors.Join(n.cmd.Process.Signal(syscall.SIGTERM), n.cmd.Wait())
}

const settle = 5 * time.Second // after its start, a node has done what it does then

// build makes the program that users run.
func build(dir string) (bin string, err error) {
	bin = filepath.Join(dir, "steward")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", bin, "github.com/steward-bus/steward/cmd/steward").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return bin, nil
}

// processes measures a real node: idle, and with a backlog under filled.
func processes(bin, dir, filled string) (list []figure, err error) {
	for _, x := range []struct{ data, field, name string }{
		{filepath.Join(dir, "idle"), "VmRSS", "idle node with its broker, RSS"},
		{filepath.Join(filled, "central"), "RssAnon", "node with the backlog, RssAnon"},
	} {
		mb, ready, err := startUp(bin, x.data, x.field)
		if err != nil {
			return nil, err
		}
		name := strings.Replace(x.name, ", "+strings.TrimPrefix(x.field, "Vm"), ", ready after", 1)
		list = append(list, single(x.name, mb, "MB"), single(name, ready, "ms"))
	}
	return list, nil
}

// startUp is the memory of a real central some seconds after its start, and after
// how many ms it answered.
func startUp(bin, data, field string) (mb, ready float64, err error) {
	n, err := startNode(bin, "central", data, "--listen", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(settle)
	mb, err = memoryOf(n.cmd.Process.Pid, field)
	return mb, n.ready.Seconds() * 1000, errors.Join(err, n.stop())
}
