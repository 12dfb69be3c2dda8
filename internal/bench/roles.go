package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// roleWord is the first argument of a process of this program that plays a role.
const roleWord = "role"

// roles are what a process of its own does until its stdin ends. It says one
// line when it is ready.
var roles = map[string]func(args []string, say func(string)) (stop func() error, err error){
	"broker": func(_ []string, say func(string)) (func() error, error) { return serve(server.Options{}, say) },
	"jetstream": func(args []string, say func(string)) (func() error, error) {
		return serve(server.Options{JetStream: true, StoreDir: args[0], SyncAlways: args[1] == "always"}, say)
	},
	"nsqd":  nsqServer,
	"fleet": fleetOf,
	"receiver": func(args []string, say func(string)) (func() error, error) {
		subjects, err := strconv.Atoi(args[2])
		if err != nil {
			return nil, err
		}
		_, stop, err := runNode("ship1", args[0], args[1], subjects)
		if err == nil {
			say("ready")
		}
		return stop, err
	},
}

func serve(o server.Options, say func(string)) (stop func() error, err error) {
	s, err := broker(o)
	if err != nil {
		return nil, err
	}
	say(s.ClientURL())
	return func() error { s.Shutdown(); return nil }, nil
}

// play runs the role that the arguments name, if they do.
func play(args []string) (played bool) {
	if len(args) < 2 || args[0] != roleWord {
		return false
	}
	collectLess()
	stop, err := roles[args[1]](args[2:], func(line string) { fmt.Println(line) })
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
		err = errors.Join(err, stop())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: role %s: %v\n", args[1], err)
		os.Exit(1)
	}
	return true
}

// collectLess is what steward run does, for all systems alike.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// role is such a process, seen from the one that started it.
type role struct {
	said  string // its line
	cmd   *exec.Cmd
	stdin io.Closer
}

// startRole starts this program once more, in role name, and waits until it is ready.
func startRole(name string, args ...string) (*role, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, append([]string{roleWord, name}, args...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &role{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("role %s is not ready: %w", name, errors.Join(err, r.stop()))
	}
	r.said = strings.TrimSpace(line)
	return r, nil
}

func (r *role) stop() error { return errors.Join(r.stdin.Close(), r.cmd.Wait()) }
