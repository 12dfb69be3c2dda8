package follow_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/steward-bus/steward/internal/follow"
)

// fakeJournal is a journalctl that prints a file's entries after its cursor
// argument, then does as "then" says. It notes its arguments in args.
func fakeJournal(t *testing.T, dir, then string) []string {
	t.Helper()
	script := filepath.Join(dir, "journalctl")
	text := `#!/bin/sh
cd '` + dir + `'
echo "$@" >> args
after=0
for a in "$@"; do case $a in --after-cursor=*) after=${a#--after-cursor=c};; esac; done
tail -n +$((after + 1)) entries
` + then + "\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"/bin/sh", script}
}

func entries(t *testing.T, dir string, from, to int) (want []string) {
	t.Helper()
	var b strings.Builder
	for i := from; i <= to; i++ {
		message, _ := json.Marshal(fmt.Sprintf("message %d", i))
		fmt.Fprintf(&b, `{"__CURSOR":"c%d","__REALTIME_TIMESTAMP":"1700000000000001","_HOSTNAME":"ship1","SYSLOG_IDENTIFIER":"sshd","_PID":"7","MESSAGE":%s}`+"\n", i, message)
		want = append(want, fmt.Sprintf("2023-11-14T22:13:20.000001Z ship1 sshd[7]: message %d", i))
	}
	appendTo(t, filepath.Join(dir, "entries"), b.String())
	return want
}

func TestJournalIsFollowedAcrossItsDeathsAndOurs(t *testing.T) {
	j, dir := newJournal(), t.TempDir()
	want := entries(t, dir, 1, 30)
	f := follow.Follower{
		Sources:       []follow.Source{{Journal: "ssh.service", To: "central"}},
		MaxBatchLines: 7,
		Journalctl:    fakeJournal(t, dir, "echo no more >&2; exit 3"),
	}
	stop := j.start(t, f)
	j.want(t, "journal-ssh.service.log", want...)
	want = append(want, entries(t, dir, 31, 40)...)
	j.want(t, "journal-ssh.service.log", want...)
	stop()
	want = append(want, entries(t, dir, 41, 50)...)
	f.Journalctl = fakeJournal(t, dir, "exec sleep 1000")
	stop = j.start(t, f)
	j.want(t, "journal-ssh.service.log", want...)
	stop()
	if r := j.reported(); len(r) == 0 || !strings.Contains(r[0], "exit status 3") || !strings.Contains(r[0], "no more") {
		t.Errorf("reports: %q", r)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "args"))
	if head, _, _ := strings.Cut(string(args), "\n"); head != "-o json --all --quiet --follow --no-tail -u ssh.service" {
		t.Errorf("first arguments: %q", head)
	}
}

func TestJournalSurvivesFailingAccepts(t *testing.T) {
	j, dir := newJournal(), t.TempDir()
	want := entries(t, dir, 1, 20)
	j.before = func(n int) error {
		if n%2 == 1 {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	j.start(t, follow.Follower{
		Sources:       []follow.Source{{Journal: "*", To: "central"}},
		MaxBatchLines: 7,
		Journalctl:    fakeJournal(t, dir, "sleep 1000 & wait"), // a child of its own holds the pipe
	})
	j.want(t, "journal-all.log", want...)
}

func TestJournalEntriesOfEveryForm(t *testing.T) {
	j, dir := newJournal(), t.TempDir()
	appendTo(t, filepath.Join(dir, "entries"), strings.Join([]string{
		`{"__CURSOR":"c1","__REALTIME_TIMESTAMP":"1","MESSAGE":[104,105,0,255]}`,
		`not JSON`,
		`{"__CURSOR":"c2","__REALTIME_TIMESTAMP":"x","_COMM":"a\nb","SYSLOG_PID":"9","MESSAGE":"one\ntwo\n"}`,
		`{"__CURSOR":"c3","__REALTIME_TIMESTAMP":"1","MESSAGE":["first","second"]}`,
		`{"__CURSOR":"c4","__REALTIME_TIMESTAMP":"1","MESSAGE":null}`,
		`{"__CURSOR":"c5","__REALTIME_TIMESTAMP":"1","MESSAGE":"` + strings.Repeat("x", 5<<20) + `"}`,
		`{"__CURSOR":"c6","__REALTIME_TIMESTAMP":"1","MESSAGE":"last"}`,
	}, "\n")+"\n")
	j.start(t, follow.Follower{
		Sources:    []follow.Source{{Journal: "*", To: "central", FileName: "all.log"}},
		Journalctl: fakeJournal(t, dir, "exec sleep 1000"),
	})
	const epoch = "1970-01-01T00:00:00.000001Z - unknown: "
	j.want(t, "all.log", epoch+"hi\u2400\uFFFD", "- - a b[9]: one", "- - a b[9]: two", epoch+"first", epoch, epoch+"last")
	if r := strings.Join(j.reported(), "\n"); strings.Count(r, "journal entry") != 2 || !strings.Contains(r, "left out") {
		t.Errorf("reports: %q", r)
	}
}

func TestNoJournalctlIsOneLogLine(t *testing.T) {
	j := newJournal()
	var log lockedBuffer
	f := follow.Follower{
		Sources:    []follow.Source{{Journal: "*", To: "central"}},
		Journalctl: []string{"/nonexistent/journalctl"},
		Log:        slog.New(slog.NewTextHandler(&log, nil)),
	}
	appendTo(t, filepath.Join(t.TempDir(), "x.log"), "")
	j.start(t, f)()
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "no journalctl") {
		t.Errorf("logged %q", s)
	}
	noReports(t, j)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
