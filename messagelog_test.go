package steward_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// logOf reads the messages of a node's messages.log, in the order of their first line.
func logOf(t *testing.T, dir string) (ms []*message.Message) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "messages.log"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		m, err := message.DecodeStored([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !seen[m.ID.String()] {
			seen[m.ID.String()] = true
			ms = append(ms, m)
		}
	}
	return ms
}

// Every message that a publisher took up is in messages.log, whatever became of
// it and whenever its node crashed, and a line of it makes the message again.
func TestMessageLogIsComplete(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central", func(cfg *steward.Config) { cfg.Policy.Retries = 3 })
		ship := c.Start("ship1")
		rich := &message.Message{
			ToNode: "ship1", Kind: subject.CommandACK, Method: "Job", Data: []string{"line\nbreak \"quoted\" \u00e9"}, AckTimeout: 7 * time.Second,
			Retries: 9, MethodTimeout: time.Minute, OnUnknown: message.Rerun, ReplyTo: "ship1", ReplyMethod: "TextLogging",
			Directory: "a", FileName: "b.log", Labels: map[string]string{"k": "v"},
		}
		for _, m := range []*message.Message{
			rich, stewardtest.Command("ship1", "x"), stewardtest.Command("ship9", "y"),
			{ToNode: "ship1", Kind: subject.CommandACK, Method: "Nope"}, {ToNode: "ship1", Kind: subject.CommandNACK, Method: "CLICommand", Data: []string{"true"}},
			{ToNode: "ship1", Kind: subject.EventACK, Method: "TextLogging", Data: []string{"l"}},
		} {
			central.Submit(m)
		}
		time.Sleep(100 * time.Millisecond)
		central.Crash()
		central = c.Start("central")
		want(t, central, ack.Done, rich.ID.String())
		time.Sleep(time.Hour)
		for _, n := range []*stewardtest.Node{central, ship} {
			list, err := n.Messages(t.Context(), store.Filter{FromNode: n.Name(), Results: true, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			logged := map[string]bool{}
			for _, m := range logOf(t, c.Dir(n.Name())) {
				logged[m.ID.String()] = true
			}
			for _, r := range list {
				if !logged[r.ID] {
					t.Errorf("%s: %s to %s (%s) is not in the log", n.Name(), r.Method, r.ToNode, r.Outcome)
				}
			}
			if len(list) < 4 {
				t.Errorf("%s sent only %d messages", n.Name(), len(list))
			}
		}
		for _, m := range logOf(t, c.Dir("central")) {
			if m.ID == rich.ID {
				again := m.Repeat(time.Now())
				want(t, central, ack.Done, central.Submit(again))
				back := *again
				back.ID, back.FromNode, back.Place, back.Time, back.Expires, back.CausationID = rich.ID, rich.FromNode, rich.Place, rich.Time, rich.Expires, rich.CausationID
				if got, want := encoded(t, &back), encoded(t, rich); got != want || again.CausationID != rich.ID {
					t.Errorf("made again:\n%s, was\n%s", got, want)
				}
			}
		}
	})
}

// A node that was stopped in peace writes nothing twice, also of what waits on.
func TestMessageLogRepeatsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		c.Start("ship1")
		for range 4 {
			central := c.Start("central")
			want(t, central, ack.Done, central.Submit(stewardtest.Command("ship1", "x")))
			central.Submit(stewardtest.Command("ship9", "y"))
			time.Sleep(time.Second)
			central.Stop()
		}
		b, err := os.ReadFile(filepath.Join(c.Dir("central"), "messages.log"))
		if err != nil {
			t.Fatal(err)
		}
		if lines, ms := strings.Count(string(b), "\n"), logOf(t, c.Dir("central")); lines != len(ms) || lines < 8 {
			t.Errorf("%d lines for %d messages", lines, len(ms))
		}
	})
}

// What a loss of power took out of the log comes again, however long it had waited
// before it was sent, and half a line spoils no other.
func TestMessageLogAfterPowerLoss(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		central := c.Start("central")
		for range 1500 { // more than one batch: the second one waits unseen
			central.Submit(stewardtest.Command("ship1", "x"))
		}
		time.Sleep(time.Hour)
		path := filepath.Join(c.Dir("central"), "messages.log")
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		c.Start("ship1")
		time.Sleep(5 * time.Second) // the log is not synced yet
		central.Crash()
		if after, err := os.Stat(path); err != nil || after.Size() < before.Size()+100_000 {
			t.Fatal("nothing was sent", err)
		}
		if err := os.Truncate(path, before.Size()+10); err != nil {
			t.Fatal(err)
		}
		c.Start("central")
		time.Sleep(time.Minute)
		if n := len(logOf(t, c.Dir("central"))); n < 1500 {
			t.Errorf("%d of 1500 are in the log", n)
		}
	})
}

func encoded(t *testing.T, m *message.Message) string {
	t.Helper()
	b, err := m.Encode(subject.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// While messages.log cannot be written nothing is sent that would be missing in
// it. Nor is anything given up, and the operator is told.
func TestMessageLogOnAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, c *stewardtest.Cluster) {
		if _, err := os.Stat("/dev/full"); err != nil {
			t.Skip("this system has no /dev/full")
		}
		c.Start("ship1")
		central := c.Start("central")
		central.Stop()
		path := filepath.Join(c.Dir("central"), "messages.log")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", path); err != nil {
			t.Fatal(err)
		}
		central = c.Start("central")
		id := central.Submit(stewardtest.Command("ship1", "x"))
		time.Sleep(time.Hour)
		if r, err := central.Message(t.Context(), id); err != nil || r.State != store.Waiting || !strings.Contains(r.LastError, "message log") || len(c.Runs()) > 0 {
			t.Errorf("%s %s: %q, %v", r.State, r.Outcome, r.LastError, err)
		}
		for _, p := range central.Processes() {
			if p.State != errorkernel.Running {
				t.Errorf("%+v", p)
			}
		}
		wantFailure(t, central, errorkernel.Transport, "message log")
		central.Stop()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		central = c.Start("central")
		want(t, central, ack.Done, id)
		if ms := logOf(t, c.Dir("central")); len(ms) == 0 || ms[0].ID.String() != id {
			t.Errorf("the log has %v", ms)
		}
	})
}
