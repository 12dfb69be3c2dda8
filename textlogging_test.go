package steward_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/internal/method"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// Where these are set, the test binary is a node that can be killed.
const (
	victimDir    = "STEWARD_TEST_VICTIM_DIR"
	victimBroker = "STEWARD_TEST_VICTIM_BROKER"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		n, err := steward.New(steward.Config{
			Name: "central", Dir: dir, Brokers: []string{os.Getenv(victimBroker)}, Headless: true,
			Text: method.TextConfig{MaxSize: 2 << 10, Keep: 500},
		})
		if err == nil {
			err = n.Run(context.Background())
		}
		panic(err)
	}
	os.Exit(m.Run())
}

// broker listens on loopback until the test ends.
func broker(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(s.WaitForShutdown)
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker not ready")
	}
	return s.ClientURL()
}

// onBroker runs a node in real time until the test ends.
func onBroker(t *testing.T, url, name string) *steward.Node {
	t.Helper()
	n, err := steward.New(steward.Config{Name: name, Dir: t.TempDir(), Central: "central", Brokers: []string{url}, Headless: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return n
}

// victim starts central as a process of its own.
func victim(t *testing.T, dir, broker string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir, victimBroker+"="+broker)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Two nodes log to central while it is killed with -9 again and again, and its
// files rotate by size: each line is there once, and those of a node in order.
func TestLinesThroughKillsOfTheReceiver(t *testing.T) {
	url, dir := broker(t), t.TempDir()
	ships := []*steward.Node{onBroker(t, url, "ship1"), onBroker(t, url, "ship2")}
	central := victim(t, dir, url)
	const kills, messages, lines = 6, 20, 25
	for kill := range kills {
		log := filepath.Join(dir, "logs", "ship1", "engine.log")
		before, _ := whole(t, log)
		for i := range messages {
			for _, n := range ships {
				if err := n.Submit(t.Context(), linesOf(kill*messages+i, lines)); err != nil {
					t.Fatal(err)
				}
			}
			if i == messages/2 { // the kill is to hit what is under way
				waitFor(t, fmt.Sprintf("lines after kill %d", kill), func() bool {
					now, _ := whole(t, log)
					return len(now) > len(before)
				})
			}
		}
		if err := central.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = central.Wait() // it was killed
		central = victim(t, dir, url)
	}
	for _, n := range ships {
		logged(t, filepath.Join(dir, "logs", n.Name(), "engine.log"), kills*messages*lines)
	}
	_ = central.Process.Kill()
	_ = central.Wait()
}

// linesOf is the nth message of lines that are numbered on.
func linesOf(n, lines int) *message.Message {
	m := &message.Message{ToNode: "central", Kind: subject.EventACK, Method: "TextLogging", FileName: "engine.log"}
	for i := range lines {
		m.Data = append(m.Data, fmt.Sprintf("line %d", n*lines+i))
	}
	return m
}

// logged waits until the log and what was rotated from it are lines 0 to n-1.
func logged(t *testing.T, path string, n int) {
	t.Helper()
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	var got string
	var rotated int
	defer func() {
		if t.Failed() {
			t.Logf("%s has %d lines after %d rotations, want %d; it ends with %q", path, strings.Count(got, "\n"), rotated, n, got[max(0, len(got)-60):])
		}
	}()
	waitFor(t, "the lines in "+path, func() bool {
		got, rotated = whole(t, path)
		return got == want.String()
	})
	if rotated < 2 {
		t.Errorf("%s was rotated %d times", path, rotated)
	}
}

// whole is the text of a rotated log, the oldest file first. A rotation meanwhile
// only makes the caller look again.
func whole(t *testing.T, path string) (text string, rotated int) {
	t.Helper()
	b, err := os.ReadFile(path)
	for ; err == nil; b, err = os.ReadFile(fmt.Sprintf("%s.%d", path, rotated)) {
		text = string(b) + text
		rotated++
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return text, rotated - 1
}
