package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/stewardtest"
)

// numbered writes the lines "name 1", "name 2", … to a log.
type numbered struct {
	t    *testing.T
	path string
	name string
	n    int
}

func (l *numbered) write(lines int) {
	l.t.Helper()
	var b strings.Builder
	for range lines {
		l.n++
		fmt.Fprintf(&b, "%s %d\n", l.name, l.n)
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := f.WriteString(b.String()); err != nil {
		l.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// shift makes room for a new <path>.1.
func (l *numbered) shift() {
	l.t.Helper()
	for i := 99; i > 0; i-- {
		err := os.Rename(fmt.Sprintf("%s.%d", l.path, i), fmt.Sprintf("%s.%d", l.path, i+1))
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
	}
}

func (l *numbered) rename() {
	l.shift()
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.t.Fatal(err)
	}
}

func (l *numbered) copytruncate() {
	l.shift()
	b, err := os.ReadFile(l.path)
	if err == nil {
		err = os.WriteFile(l.path+".1", b, 0o600)
	}
	if err == nil {
		err = os.Truncate(l.path, 0)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// arrived waits until the file has n lines, and checks that they are "name 1" to "name n".
func arrived(t *testing.T, path, name string, n int) {
	t.Helper()
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "%s %d\n", name, i+1)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * patience); ; <-tick.C {
		b, err := os.ReadFile(path)
		if err == nil && string(b) == want.String() {
			return
		}
		if got := strings.Count(string(b), "\n"); got > n || time.Now().After(deadline) {
			t.Fatalf("%s has %d lines, want %d; %s %v", path, got, n, firstDifference(string(b), want.String()), err)
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is %q", i+1, g[i])
		}
	}
	return ""
}

// newJournal puts a journalctl on a PATH that prints what entry added, and returns that PATH.
func newJournal(t *testing.T) (path string, entry func(text string)) {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
after=0
for a in "$@"; do case $a in --after-cursor=*) after=${a#--after-cursor=};; esac; done
while kill -0 $PPID; do
	total=$(wc -l < '` + dir + `/entries')
	tail -n +$((after + 1)) '` + dir + `/entries' | head -n $((total - after))
	after=$total
	sleep 0.1
done
`
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	entry = func(text string) {
		f, err := os.OpenFile(filepath.Join(dir, "entries"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, err := fmt.Fprintf(f, `{"__CURSOR":"%d","__REALTIME_TIMESTAMP":"1700000000000001","_HOSTNAME":"ship1","SYSLOG_IDENTIFIER":"pump","MESSAGE":%q}`+"\n", n, text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir + ":" + os.Getenv("PATH"), entry
}

// Logs grow, rotate in both ways and appear while both nodes are killed with -9
// again and again: each line is at central once and in order.
func TestForwardThroughKills(t *testing.T) {
	t.Parallel()
	dir, addr := stewardtest.ShortDir(t), stewardtest.FreePort(t)
	logs := filepath.Join(dir, "app")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	path, entry := newJournal(t)
	config := write(t, "steward.yaml", "node: ship1\nbroker: [\"nats://"+addr+"\"]\ndata: "+filepath.Join(dir, "ship1")+"\nforward:\n"+
		"  - {path: \""+logs+"/*.log\", directory: app}\n  - {journal: pump.service}\n")
	startCentral := func() *proc {
		return begin(t, nil, "run", "--node", "central", "--listen", addr, "--data", filepath.Join(dir, "central"))
	}
	startShip := func() *proc { return begin(t, []string{"PATH=" + path}, "run", "--config", config) }
	entry("entry 1")
	central, ship := startCentral(), startShip()
	all := []*numbered{
		{t: t, path: filepath.Join(logs, "renamed.log"), name: "renamed"},
		{t: t, path: filepath.Join(logs, "truncated.log"), name: "truncated"},
	}
	at := func(name string) string { return filepath.Join(dir, "central", "logs", "ship1", "app", name+".log") }
	const rounds = 6
	for round := range rounds {
		if round == 2 { // the pattern matches one more
			all = append(all, &numbered{t: t, path: filepath.Join(logs, "late.log"), name: "late"})
		}
		for _, l := range all { // what is rotated before any of it was read is nobody's
			l.write(1)
			arrived(t, at(l.name), l.name, l.n)
		}
		for range 10 {
			for _, l := range all {
				l.write(20)
			}
			<-time.After(5 * time.Millisecond) // the writer's pace
		}
		entry(fmt.Sprintf("entry %d", round+2))
		if round%2 == 0 {
			ship.end(syscall.SIGKILL)
		} else {
			central.end(syscall.SIGKILL)
		}
		for _, l := range all {
			l.write(20)
		}
		all[0].rename()
		all[1].copytruncate()
		for _, l := range all {
			l.write(20)
		}
		if round%2 == 0 {
			ship = startShip()
		} else {
			central = startCentral()
		}
	}
	for _, l := range all {
		arrived(t, at(l.name), l.name, l.n)
	}
	arrived(t, filepath.Join(dir, "central", "logs", "ship1", "journal-pump.service.log"), "2023-11-14T22:13:20.000001Z ship1 pump: entry", rounds+1)
}
