package follow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/subject"
)

func TestLinesWhileFollowing(t *testing.T) {
	j, path := newJournal(), logIn(t)
	appendTo(t, path, "before\n")
	j.start(t, follow.Follower{Sources: []follow.Source{{
		Path: path, To: "central", Directory: "apps", Labels: map[string]string{"site": "oslo"},
	}}})
	j.want(t, "app.log", "before")
	appendTo(t, path, "one\n\nthree\r\n")
	j.want(t, "app.log", "before", "one", "", "three\r")
	m := j.messages[0]
	if m.ToNode != "central" || m.Kind != subject.EventACK || m.Method != "TextLogging" || m.Directory != "apps" || m.Labels["site"] != "oslo" {
		t.Errorf("message is %+v", m)
	}
	noReports(t, j)
}

func TestNotificationsNeedNoPoll(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.Poll = time.Hour
	j.start(t, f)
	j.until(t, "the first note", func() bool { return j.noteCount() > 0 })
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	rename(t, path, path+".1")
	appendTo(t, path, "two\n")
	j.want(t, "app.log", "one", "two")
}

func TestHalfLineWaitsForItsNewline(t *testing.T) {
	j, path := newJournal(), logIn(t)
	j.start(t, source(path))
	appendTo(t, path, "one\nha")
	j.want(t, "app.log", "one")
	appendTo(t, path, "lf")
	appendTo(t, path, " done\n")
	j.want(t, "app.log", "one", "half done")
}

func TestRotationByRename(t *testing.T) {
	for _, pattern := range []string{"app.log", "app.log*", "*.log"} {
		t.Run(pattern, func(t *testing.T) {
			j, path := newJournal(), logIn(t)
			j.start(t, source(filepath.Join(filepath.Dir(path), pattern)))
			var want []string
			for i := range 5 {
				appendTo(t, path, fmt.Sprintf("%d a\n", i))
				want = append(want, fmt.Sprintf("%d a", i))
				j.want(t, "app.log", want...)
				for n := i; n > 0; n-- {
					rename(t, fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n+1))
				}
				rename(t, path, path+".1")
				appendTo(t, path+".1", fmt.Sprintf("%d late\n%d tail", i, i))
				appendTo(t, path, fmt.Sprintf("%d new\n", i))
				want = append(want, fmt.Sprintf("%d late", i), fmt.Sprintf("%d tail", i), fmt.Sprintf("%d new", i))
			}
			j.want(t, "app.log", want...)
			noReports(t, j)
		})
	}
}

func TestRotatedFileThatIsDeletedIsReadToItsEnd(t *testing.T) {
	j, path := newJournal(), logIn(t)
	appendTo(t, path, "one\n")
	block, blocked := make(chan struct{}), make(chan struct{})
	first := true
	j.before = func(int) error {
		if first && len(j.messages) == 1 {
			first = false
			close(blocked)
			<-block
		}
		return nil
	}
	j.start(t, source(path))
	j.want(t, "app.log", "one")
	appendTo(t, path, "two\n")
	<-blocked
	appendTo(t, path, "three\nfour")
	remove(t, path)
	appendTo(t, path, "five\n")
	close(block)
	j.want(t, "app.log", "one", "two", "three", "four", "five")
	noReports(t, j)
}

func TestCopyTruncate(t *testing.T) {
	for _, pattern := range []string{"app.log", "app.log*"} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s down=%v", pattern, down), func(t *testing.T) {
				j, path := newJournal(), logIn(t)
				f := source(filepath.Join(filepath.Dir(path), pattern))
				stop := j.start(t, f)
				var want []string
				for i := range 4 {
					appendTo(t, path, fmt.Sprintf("first of %d\n", i))
					want = append(want, fmt.Sprintf("first of %d", i))
					j.want(t, "app.log", want...)
					if down {
						stop()
					}
					for n := i; n > 0; n-- {
						rename(t, fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n+1))
					}
					appendTo(t, path, fmt.Sprintf("last of %d\n", i))
					copyTruncate(t, path, path+".1")
					if down {
						stop = j.start(t, f)
					}
					want = append(want, fmt.Sprintf("last of %d", i))
				}
				j.want(t, "app.log", want...)
				noReports(t, j)
			})
		}
	}
}

func TestCopyThatIsSeenBeforeTheTruncation(t *testing.T) {
	j, path := newJournal(), logIn(t)
	j.start(t, source(path+"*"))
	appendTo(t, path, "one\ntwo\n")
	j.want(t, "app.log", "one", "two")
	appendTo(t, path+".1", "one\ntwo\n")
	appendTo(t, path+"x", "the folder was looked at\n")
	j.want(t, "app.logx", "the folder was looked at")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "three\n")
	j.want(t, "app.log", "one", "two", "three")
	appendTo(t, path+"y", "and again\n")
	j.want(t, "app.logy", "and again")
	if got := j.lines("app.log-1"); len(got) > 0 {
		t.Errorf("the copy was sent too: %q", got)
	}
	noReports(t, j)
}

func TestCopyTruncatedTwiceWhileDownAndTheFirstCopyIsGone(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	appendTo(t, path, "one\n")
	stop := j.start(t, f)
	j.want(t, "app.log", "one")
	stop()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "another two\n")
	copyTruncate(t, path, path+".1")
	appendTo(t, path, "three\n")
	j.start(t, f)
	j.want(t, "app.log", "one", "another two", "three")
	if r := j.reported(); len(r) != 1 || !strings.Contains(r[0], "after byte 4") {
		t.Errorf("reports: %q", r)
	}
}

// Between two looks at the folder, only the read itself can tell.
func TestOverwrittenInPlace(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.Poll = time.Hour
	head := slices.Repeat([]string{"# the same head in each file"}, 20)
	appendTo(t, path, strings.Join(head, "\n")+"\none\n")
	j.start(t, f)
	j.want(t, "app.log", append(slices.Clone(head), "one")...)
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteAt([]byte(strings.Join(head, "\n")+"\ntwo\nthree\n"), 0)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	want := append(append(slices.Clone(head), "one"), head...)
	j.want(t, "app.log", append(want, "two", "three")...)
}

func copyTruncate(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err = errors.Join(err, os.Truncate(from, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestTruncationWithoutACopyTellsWhatIsLost(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	appendTo(t, path, "one\nhalf")
	j.want(t, "app.log", "one")
	stop()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "other and longer than before\n")
	j.start(t, f)
	j.want(t, "app.log", "one", "other and longer than before")
	if r := j.reported(); len(r) != 1 || !strings.Contains(r[0], path) || !strings.Contains(r[0], "4 bytes") && !strings.Contains(r[0], "after byte 4") {
		t.Errorf("reports: %q", r)
	}
}

func TestDeletedAndMadeAgain(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("down=%v", down), func(t *testing.T) {
			j, path := newJournal(), logIn(t)
			f := source(path)
			stop := j.start(t, f)
			var want []string
			for i := range 5 { // ext4 gives the same inode again, others do not
				line := strings.Repeat(fmt.Sprint(i), i+1)
				appendTo(t, path, line+"\n")
				want = append(want, line)
				j.want(t, "app.log", want...)
				if down {
					stop()
				}
				remove(t, path)
				if down {
					appendTo(t, path, "made again "+line+"\n")
					want = append(want, "made again "+line)
					stop = j.start(t, f)
				}
			}
			j.want(t, "app.log", want...)
		})
	}
}

func TestReusedInodeIsANewFile(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	head := strings.Repeat("# the same head in each file\n", 20)
	appendTo(t, path, head+"one\n")
	want := append(slices.Repeat([]string{"# the same head in each file"}, 20), "one")
	j.want(t, "app.log", want...)
	stop()
	// The same inode, the same first bytes, at least the same size.
	if err := os.WriteFile(path, []byte(head+"two\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.start(t, f)
	j.want(t, "app.log", append(append(slices.Clone(want), want[:20]...), "two", "three")...)
}

func TestRestartMidFile(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	appendTo(t, path, "one\ntwo\nha")
	j.want(t, "app.log", "one", "two")
	stop()
	appendTo(t, path, "lf\nfour\n")
	j.start(t, f)
	j.want(t, "app.log", "one", "two", "half", "four")
	noReports(t, j)
}

func TestRestartAfterRotationsWhileDown(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	appendTo(t, path+".1", "from before anyone followed\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path+".1", old, old); err != nil {
		t.Fatal(err)
	}
	stop := j.start(t, f)
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	stop()
	appendTo(t, path, "two\ntail")
	rename(t, path+".1", path+".4")
	rename(t, path, path+".3")
	appendTo(t, path+".2", "three\n") // rotated without ever being seen
	appendTo(t, path+".1", "four\n")
	appendTo(t, path, "five\n")
	j.start(t, f)
	j.want(t, "app.log", "one", "two", "tail", "three", "four", "five")
	noReports(t, j)
}

func TestRenamedToAnyNameWhileDown(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	stop()
	appendTo(t, path, "two\n")
	rename(t, path, filepath.Join(filepath.Dir(path), "kept aside"))
	j.start(t, f)
	j.want(t, "app.log", "one", "two")
	noReports(t, j)
}

func TestGoneWhileDownIsReportedOnceAndForgotten(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.Poll = time.Millisecond
	appendTo(t, path, "one\n"+strings.Repeat("x", 100))
	stop := j.start(t, f)
	j.want(t, "app.log", "one")
	stop()
	remove(t, path)
	for range 2 {
		stop = j.start(t, f)
		j.until(t, "the note to tell that it was reported", func() bool { return j.noted(`"missing":true`) })
		stop()
	}
	j.start(t, f)
	j.until(t, "the deletion of the note", func() bool { return j.noteCount() == 1 })
	r := j.reported()
	if len(r) != 1 || !strings.Contains(r[0], path) || !strings.Contains(r[0], "100 bytes from byte 4") {
		t.Errorf("reports: %q", r)
	}
}

func TestMissingFileThatComesBackIsReadOn(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	appendTo(t, path, "one\n")
	stop := j.start(t, f)
	j.want(t, "app.log", "one")
	stop()
	away := logIn(t)
	rename(t, path, away)
	stop = j.start(t, f)
	j.until(t, "the report", func() bool { return j.noted(`"missing":true`) })
	appendTo(t, away, "two\n")
	rename(t, away, path)
	j.want(t, "app.log", "one", "two")
	stop()
}

func TestFinishedFilesAreForgotten(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.Poll = time.Millisecond
	j.start(t, f)
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	rename(t, path, path+".1")
	appendTo(t, path, "two\n")
	j.want(t, "app.log", "one", "two")
	remove(t, path+".1")
	j.until(t, "the note to go", func() bool { return j.noteCount() == 2 })
	noReports(t, j)
}

func TestLongLinesAreSplitAndFlagged(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.MaxLine = 10
	appendTo(t, path, "short\n0123456789\n0123456789abcdefghiéz and on\nshort again\n")
	stop := j.start(t, f)
	j.until(t, "the last line", func() bool { l := j.lines("app.log"); return len(l) > 0 && l[len(l)-1] == "n" })
	stop()
	var got []string
	for _, m := range j.messages {
		for _, d := range m.Data {
			got = append(got, m.Labels[follow.SplitLabel]+":"+d)
		}
	}
	want := []string{":short", ":0123456789", "more:0123456789", "more:abcdefghi", "end:éz and on", "more:short agai", "end:n"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	noReports(t, j)
}

func TestLongLineAcrossARestart(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	f.MaxLine = 10
	stop := j.start(t, f)
	appendTo(t, path, "0123456789abc")
	j.want(t, "app.log", "0123456789")
	stop()
	appendTo(t, path, "def\nnext\n")
	j.start(t, f)
	j.want(t, "app.log", "0123456789", "abcdef", "next")
	if l := j.messages[1].Labels[follow.SplitLabel]; l != "end" {
		t.Errorf("the second piece is labelled %q", l)
	}
}

func TestBinary(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	appendTo(t, path, "a\x00b\n\xff\xfec\xc3\n\x1b[0m\n")
	want := []string{"a\u2400b", "\uFFFDc\uFFFD", "\x1b[0m"}
	j.want(t, "app.log", want...)
	stop()
	appendTo(t, path, "after\n")
	j.start(t, f)
	j.want(t, "app.log", append(want, "after")...)
	noReports(t, j)
}

func TestBatchesAreBounded(t *testing.T) {
	j, path := newJournal(), logIn(t)
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("\x01", i%100)))
	}
	appendTo(t, path, strings.Join(want, "\n")+"\n")
	f := source(path)
	f.MaxBatchLines, f.MaxBatchBytes = 50, 4<<10
	stop := j.start(t, f)
	j.want(t, "app.log", want...)
	stop()
	for _, m := range j.messages {
		if n := len(strings.Join(m.Data, "")); len(m.Data) > 50 || n > 4<<10 {
			t.Fatalf("a message has %d lines and %d bytes", len(m.Data), n)
		}
	}
}

func TestManyFilesAndNewOnes(t *testing.T) {
	j, dir := newJournal(), t.TempDir()
	name := func(i int) string { return fmt.Sprintf("app%03d.log", i) }
	for i := range 100 {
		appendTo(t, filepath.Join(dir, name(i)), "the same line in each\n")
	}
	j.start(t, source(filepath.Join(dir, "*.log")))
	for i := range 100 {
		j.want(t, name(i), "the same line in each")
	}
	for i := range 150 {
		appendTo(t, filepath.Join(dir, name(i)), "more\n")
	}
	for i := range 150 {
		if i < 100 {
			j.want(t, name(i), "the same line in each", "more")
		} else {
			j.want(t, name(i), "more")
		}
	}
	noReports(t, j)
}

func TestTooManyFilesAreReportedAndWait(t *testing.T) {
	j, dir := newJournal(), t.TempDir()
	for i := range follow.MaxFiles + 3 {
		appendTo(t, filepath.Join(dir, fmt.Sprintf("app%04d.log", i)), "x\n")
	}
	j.start(t, source(filepath.Join(dir, "*.log")))
	j.until(t, "a report", func() bool { return len(j.reported()) > 0 })
	j.want(t, "app0000.log", "x")
	if r := j.reported(); len(r) != 1 || !strings.Contains(r[0], "more than 512 files") {
		t.Errorf("reports: %q", r)
	}
}

func TestFailingAcceptLosesNothing(t *testing.T) {
	j, path := newJournal(), logIn(t)
	errFull := errors.New("the outbox is full")
	j.before = func(n int) error {
		if n >= 3 && n < 6 {
			return errFull
		}
		return nil
	}
	j.after = func(n int) error {
		if n == 7 {
			return errors.New("the answer was lost")
		}
		return nil
	}
	j.start(t, source(path))
	var want []string
	for i := range 4 {
		line := fmt.Sprintf("line %d", i)
		appendTo(t, path, line+"\n")
		want = append(want, line)
		j.want(t, "app.log", want...)
	}
	if r := j.reported(); len(r) != 1 || !strings.Contains(r[0], "outbox is full") {
		t.Errorf("reports: %q", r)
	}
}

func TestFromEnd(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := follow.Follower{Sources: []follow.Source{{Path: path + "*", To: "central", FromEnd: true}}}
	appendTo(t, path, "old\nold\nha")
	stop := j.start(t, f)
	j.until(t, "notes", func() bool { return j.noteCount() == 2 })
	appendTo(t, path, "lf\n")
	j.want(t, "app.log", "half")
	stop()
	appendTo(t, path+"x", "new file\n")
	j.start(t, f)
	j.want(t, "app.logx", "new file")
}

func TestRotatedNamesAreMadeFitForReceivers(t *testing.T) {
	j, path := newJournal(), logIn(t)
	appendTo(t, path+".1", "older\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path+".1", old, old); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "newer\n")
	j.start(t, source(path+"*"))
	j.want(t, "app.log-1", "older")
	j.want(t, "app.log", "newer")
}

func TestSymbolicLinkAndOthers(t *testing.T) {
	j, dir, elsewhere := newJournal(), t.TempDir(), t.TempDir()
	target := filepath.Join(elsewhere, "0.log")
	appendTo(t, target, "one\n")
	if err := errors.Join(os.Symlink(target, filepath.Join(dir, "pod.log")), os.Symlink("/nowhere", filepath.Join(dir, "dangling.log")),
		os.Mkdir(filepath.Join(dir, "folder.log"), 0o700)); err != nil {
		t.Fatal(err)
	}
	j.start(t, source(filepath.Join(dir, "*.log")))
	j.want(t, "pod.log", "one")
	rename(t, target, target+".20260102")
	appendTo(t, target+".20260102", "two\n")
	appendTo(t, target, "three\n")
	j.want(t, "pod.log", "one", "two", "three")
	noReports(t, j)
}

func TestTwoSourcesOfOneFileAreIndependent(t *testing.T) {
	j, path := newJournal(), logIn(t)
	appendTo(t, path, "one\n")
	f := follow.Follower{Sources: []follow.Source{{Path: path, To: "central", FileName: "a.log"}, {Path: path, To: "ship1", FileName: "b.log"}}}
	j.start(t, f)
	j.want(t, "a.log", "one")
	j.want(t, "b.log", "one")
}

func TestUnreadableNotes(t *testing.T) {
	j, path := newJournal(), logIn(t)
	f := source(path)
	stop := j.start(t, f)
	appendTo(t, path, "one\n")
	j.want(t, "app.log", "one")
	stop()
	for key := range j.notes {
		j.notes[key] = []byte(`{"v":99}`)
	}
	stop = j.start(t, f)
	j.until(t, "a report", func() bool { return len(j.reported()) > 0 })
	stop()
	if r := j.reported(); len(r) != 1 || !strings.Contains(r[0], "version 99") || len(j.lines("app.log")) != 1 {
		t.Errorf("reports: %q, lines %q", r, j.lines("app.log"))
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for want, s := range map[string]follow.Source{
		"neither path nor journal": {To: "central"},
		"both set":                 {Path: "/a", Journal: "b", To: "central"},
		"relative":                 {Path: "a/*.log", To: "central"},
		"malformed":                {Path: "/a/[", To: "central"},
		"toNode":                   {Path: "/a"},
		"no unit":                  {Journal: "--version", To: "central"},
		"directory":                {Path: "/a", To: "central", Directory: "../x"},
		"refused by receivers":     {Path: "/a", To: "central", FileName: "x.1"},
		"set by the follower":      {Path: "/a", To: "central", Labels: map[string]string{"split": "x"}},
		"at most 63":               {Path: "/a", To: "central", Labels: many(64)},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	j := newJournal()
	f := source("/a")
	f.Sources = append(f.Sources, f.Sources[0])
	f.Accept, f.Load = j.accept, j.load
	if err := f.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "two entries") {
		t.Errorf("two entries: %v", err)
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint(i)] = "x"
	}
	return m
}
