package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

var (
	rounds = flag.Int("rounds", 50, "kills in TestKill")
	seed   = flag.Uint64("seed", 1, "of the random times and victims")
)

// perRound is how many commands are submitted in a round, over two subjects.
const perRound = 6

// member is a node that is started and killed.
type member struct {
	t    *testing.T
	bin  string
	name string
	dir  string
	args []string
	cmd  *exec.Cmd
	done chan error
}

func (m *member) start() {
	m.t.Helper()
	f, err := os.OpenFile(filepath.Join(filepath.Dir(m.dir), m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	m.cmd = exec.Command(m.bin, append([]string{"run", "--node", m.name, "--data", m.dir}, m.args...)...)
	m.cmd.Stdout, m.cmd.Stderr = f, f
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(m.cmd, m.done)
}

// kill ends the process at once, and waits until it is gone.
func (m *member) kill(sig syscall.Signal) error {
	_ = m.cmd.Process.Signal(sig)
	return <-m.done
}

// client waits until the node answers.
func (m *member) client(ctx context.Context) *api.Client {
	m.t.Helper()
	for {
		if c, err := api.Dial(m.dir); err == nil {
			if _, err := c.Status(ctx); err == nil {
				return c
			}
			c.Close()
		}
		select {
		case err := <-m.done:
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(m.dir), m.name+".log"))
			m.t.Fatalf("%s ended: %v\n%s", m.name, err, b[max(0, len(b)-4000):])
		case <-ctx.Done():
			m.t.Fatalf("%s does not answer: %v", m.name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "steward")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/steward").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestKill kills sender (which is the broker too) and receiver with -9 at random
// times under load. Afterwards every command that was accepted has an outcome,
// ran at most once and in order, and "done" is said of nothing that did not run.
func TestKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(*rounds)*4*time.Second)
	defer cancel()
	bin, dir, port := build(t), t.TempDir(), freePort(t)
	t.Logf("seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	central := &member{t: t, bin: bin, name: "central", dir: filepath.Join(dir, "central"), args: []string{"--listen", "127.0.0.1:" + port}}
	ship := &member{t: t, bin: bin, name: "ship1", dir: filepath.Join(dir, "ship1"), args: []string{"--broker", "nats://127.0.0.1:" + port}}
	central.start()
	ship.start()
	t.Cleanup(func() {
		_ = central.kill(syscall.SIGKILL)
		_ = ship.kill(syscall.SIGKILL)
	})
	effects := filepath.Join(dir, "effects")
	var accepted []string
	for round := range *rounds {
		accepted = append(accepted, submitSome(ctx, t, central, effects, round)...)
		victim := []*member{central, ship}[rng.IntN(2)]
		select {
		case <-time.After(time.Duration(rng.IntN(150)) * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
		_ = victim.kill(syscall.SIGKILL)
		victim.start()
	}
	c := central.client(ctx)
	defer c.Close()
	outcomes := map[ack.Outcome]int{}
	records := map[string]store.Record{}
	for _, id := range accepted {
		r, err := c.Wait(ctx, id)
		if err != nil {
			t.Fatalf("%s has no outcome: %v (%+v)", id, err, r)
		}
		outcomes[r.Outcome]++
		records[id] = r
	}
	judge(t, records, accepted, effects)
	t.Logf("%d commands through %d kills: %v", len(accepted), *rounds, outcomes)
	for _, m := range []*member{ship, central} {
		if err := m.kill(syscall.SIGTERM); err != nil {
			t.Errorf("%s after SIGTERM: %v", m.name, err)
		}
		m.start() // for Cleanup
	}
}

// submitSome returns the ids that the node said it has accepted.
func submitSome(ctx context.Context, t *testing.T, central *member, effects string, round int) (ids []string) {
	t.Helper()
	c := central.client(ctx)
	defer c.Close()
	for i := range perRound {
		method := []string{"CLICommand", "CLICommandConcurrent"}[i%2]
		doc := fmt.Sprintf(`[{"toNode":"ship1","data":["sh","-c","echo $STEWARD_MESSAGE_ID >> %s"],"commandOrEvent":"CommandACK","method":%q,"timeout":2,"labels":{"round":"%d"}}]`, effects, method, round)
		records, err := c.SubmitDocument(ctx, []byte(doc))
		if err != nil {
			if errors.Is(err, api.ErrNoNode) || errors.Is(err, api.ErrNoAnswer) {
				return ids
			}
			t.Fatalf("submit: %v", err)
		}
		ids = append(ids, records[0].ID)
	}
	return ids
}

func judge(t *testing.T, records map[string]store.Record, accepted []string, effects string) {
	t.Helper()
	b, err := os.ReadFile(effects)
	if err != nil {
		t.Fatal(err)
	}
	ran := strings.Fields(string(b))
	count := map[string]int{}
	for _, id := range ran {
		count[id]++
	}
	unknown := 0
	for _, id := range accepted {
		r := records[id]
		switch n := count[id]; {
		case n > 1:
			t.Errorf("%s ran %d times", id, n)
		case r.Outcome == ack.Done && n != 1:
			t.Errorf("%s is done and ran %d times", id, n)
		case r.Outcome == ack.Unknown:
			unknown++
		case r.Outcome != ack.Done:
			t.Errorf("%s ended as %s (%s)", id, r.Outcome, r.Reason)
		}
	}
	if limit := 17 * *rounds; unknown > limit { // a kill can hit what runs: one serial and up to sixteen side by side
		t.Errorf("%d unknown, more than %d kills can explain", unknown, *rounds)
	}
	var serial []string
	for _, id := range ran {
		if records[id].Method == "CLICommand" {
			serial = append(serial, id)
		}
	}
	if !slices.IsSortedFunc(serial, func(a, b string) int { return int(records[a].Seq) - int(records[b].Seq) }) {
		t.Error("serial commands ran out of order")
	}
}
