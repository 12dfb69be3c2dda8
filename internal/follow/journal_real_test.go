package follow_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/steward-bus/steward/internal/follow"
)

// realJournal is a folder of journal files, and what puts entries into them.
type realJournal struct {
	t      *testing.T
	remote string
	dir    string
	last   int
}

// newRealJournal needs journalctl, and systemd-journal-remote to write with.
func newRealJournal(t *testing.T) *realJournal {
	t.Helper()
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("this machine has no journalctl")
	}
	for _, name := range []string{"systemd-journal-remote", "/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"} {
		if path, err := exec.LookPath(name); err == nil {
			return &realJournal{t: t, remote: path, dir: t.TempDir()}
		}
	}
	t.Skip("this machine has no systemd-journal-remote, which writes journals (Debian: apt-get install systemd-journal-remote)")
	return nil
}

// write adds an entry of unit for each message, and tells the lines to expect.
func (r *realJournal) write(file, unit string, messages ...string) (want []string) {
	r.t.Helper()
	var b bytes.Buffer
	for _, m := range messages {
		r.last++
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\n_MACHINE_ID=%032x\n", 1700000000000000+r.last, r.last, 1, 2)
		fmt.Fprintf(&b, "_HOSTNAME=ship1\nSYSLOG_IDENTIFIER=sshd\n_PID=7\n_SYSTEMD_UNIT=%s\nMESSAGE\n", unit)
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(m))))
		b.WriteString(m + "\n\n")
		for line := range bytes.SplitSeq([]byte(m), []byte("\n")) {
			want = append(want, fmt.Sprintf("2023-11-14T22:13:20.%06dZ ship1 sshd[7]: %s", r.last, line))
		}
	}
	cmd := exec.CommandContext(r.t.Context(), r.remote, "--output="+filepath.Join(r.dir, file+".journal"), "-")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s", r.remote, err, out)
	}
	return want
}

// The journal of systemd itself: entries that come while it is followed, while
// steward is down, and in a file that is younger than the cursor.
func TestRealJournal(t *testing.T) {
	r, j := newRealJournal(t), newJournal()
	want := r.write("one", "ssh.service", "first", "two\nlines", "tab\tand \u20ac")
	r.write("one", "cron.service", "of another unit")
	f := follow.Follower{
		Sources:    []follow.Source{{Journal: "ssh.service", To: "central"}, {Journal: "*", To: "central", FileName: "late.log", FromEnd: true}},
		Journalctl: []string{"journalctl", "--directory=" + r.dir},
	}
	const name = "journal-ssh.service.log"
	stop := j.start(t, f)
	j.want(t, name, want...)
	want = append(want, r.write("one", "ssh.service", "while it is followed")...)
	j.want(t, name, want...)
	stop()
	want = append(want, r.write("one", "ssh.service", "while steward is down")...)
	want = append(want, r.write("two", "ssh.service", "in the next file")...)
	r.write("two", "cron.service", "of another unit again")
	stop = j.start(t, f)
	j.want(t, name, want...)
	stop()
	for _, line := range j.lines("late.log") {
		if line == want[0] {
			t.Errorf("from its end: %q", line)
		}
	}
	noReports(t, j)
}
