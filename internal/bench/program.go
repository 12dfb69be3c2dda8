package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// errMissing says that a system is not installed here, so it cannot be measured.
var errMissing = errors.New("not installed")

// program is somebody else's server, in a process group of its own.
type program struct {
	cmd   *exec.Cmd
	ended chan error
}

// startProgram starts it; debian is the package that has it.
func startProgram(debian, path string, env []string, args ...string) (*program, error) {
	path, err := exec.LookPath(path)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: Debian has it as %s", errMissing, debian)
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{cmd, make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// stop ends the group. How it exits is its own affair: its files are deleted.
func (p *program) stop() error {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.ended: //nolint:errcheck // see above
	case <-time.After(15 * time.Second):
		return errors.Join(fmt.Errorf("%s does not end", p.cmd.Path), syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL))
	}
	return nil
}

// ready waits until try succeeds.
func (p *program) ready(try func() error) error {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if err = try(); err == nil {
			return nil
		}
		select {
		case why := <-p.ended:
			p.ended <- why
			return fmt.Errorf("%s ended: %w", p.cmd.Path, errors.Join(why, err))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready: %w", p.cmd.Path, err)
}

// freePort is one that nobody listened on a moment ago.
func freePort() (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // it was for its number only
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
