package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// A commit is two writes, each with its fsync: first the pages, then the head
// that makes them count. The kernel is asked to let a process fail at any one of
// these steps, with any error, while the file takes what else is written to it.
// That cannot be undone in a process, so it is done in a child.
const faultChild = "STEWARD_TEST_FAULT" // "commit step errno path", or "kill path"

// The steps of a commit.
const (
	writePages = iota
	syncPages
	writeHead
	syncHead
)

// TestMain is the child, if it is asked to be.
func TestMain(m *testing.M) {
	if job := os.Getenv(faultChild); job != "" {
		if err := failingProcess(job); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// failingProcess accepts messages in an existing journal, each with a note that
// counts them, the way a file of submissions is read: what was refused for want
// of room is tried once more. It prints what became of each.
func failingProcess(job string) error {
	if path, ok := strings.CutPrefix(job, "kill "); ok {
		return busyProcess(path)
	}
	var commit, step, errno int
	var path string
	if _, err := fmt.Sscan(job, &commit, &step, &errno, &path); err != nil {
		return err
	}
	db, err := store.Open(path, store.Options{Node: "central", MinFree: 1})
	if err != nil {
		return err
	}
	if err := failStep(commit, step, errno); err != nil {
		return err
	}
	for i := range 4 {
		for range 2 {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Echo", Data: []string{fmt.Sprint("message ", i)}}
			db.Fresh(m, time.Now())
			err = db.Accept(context.Background(), []*message.Message{m}, true, store.Note{Key: "read", Value: []byte(strconv.Itoa(i))})
			switch {
			case err == nil:
				fmt.Println("accepted", i)
			case errors.Is(err, store.ErrBroken):
				fmt.Println("broken", i, strings.ReplaceAll(err.Error(), "\n", " "))
			case errors.Is(err, store.ErrFull):
				fmt.Println("full", i)
				continue
			default:
				return err
			}
			break
		}
	}
	return nil // the process ends here, as it does when the journal broke
}

// failStep lets one step of the commit of that number fail from now on, counted
// from 1, and nothing else. That lasts as long as the process.
func failStep(commit, step, errno int) error {
	const load, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the system call's number
		{Code: equal, K: unix.SYS_PWRITE64, Jt: 1},
		{Code: equal, K: unix.SYS_FDATASYNC, Jf: 1},
		{Code: answer, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread() // for the two calls
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	fd, _, e := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("%s: %w", noSeccomp, e)
	}
	go decide(fd, commit, step, errno) // ends with the process
	return nil
}

const noSeccomp = "install a seccomp filter"

// The kernel's question about a system call, and the answer to it.
type (
	question struct {
		id    uint64
		_     [2]uint32 // who asks
		call  int32
		_     uint32
		_     uint64
		words [6]uint64 // of the call
	}
	decision struct {
		id    uint64
		_     int64
		errno int32
		flags uint32
	}
)

func decide(fd uintptr, commit, step, errno int) {
	for n, at := 1, syncHead; ; {
		var q question
		if _, _, e := syscall.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q))); e != 0 {
			fmt.Println("ask about a system call:", e)
			os.Exit(1)
		}
		const pageSize = 16 << 10 // the first two pages are heads
		switch sync, head := q.call == unix.SYS_FDATASYNC, at == writeHead; {
		case sync && head:
			at = syncHead
		case sync:
			at = syncPages
		case q.words[3] < 2*pageSize:
			at = writeHead
		default:
			at = writePages
		}
		d := decision{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if n == commit && at == step {
			d.flags, d.errno = 0, -int32(errno)
			commit = 0 // this once
		}
		if at == syncHead {
			n++
		}
		if _, _, e := syscall.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&d))); e != 0 {
			fmt.Println("decide on a system call:", e)
			os.Exit(1)
		}
	}
}

// Whichever step of a commit fails, and however: what was acknowledged is there
// at the next opening, nothing is there twice, and the note agrees with it.
func TestEachStepOfACommitFails(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	broken := []string{"broken 2", "broken 3"}
	again := []string{"full 2", "accepted 2", "accepted 3"}
	for _, x := range []struct {
		name  string
		step  int
		errno syscall.Errno
		want  []string // of messages 2 and 3
	}{
		{"write the pages, EIO", writePages, unix.EIO, broken},
		{"sync the pages, EIO", syncPages, unix.EIO, broken},
		{"write the head, EIO", writeHead, unix.EIO, broken},
		{"sync the head, EIO", syncHead, unix.EIO, broken},
		{"write the pages, ENOSPC", writePages, unix.ENOSPC, again},
		{"sync the pages, ENOSPC", syncPages, unix.ENOSPC, again},
		{"write the head, EDQUOT", writeHead, unix.EDQUOT, again},
		{"sync the head, ENOSPC", syncHead, unix.ENOSPC, broken}, // it counts already
		{"sync the head, EDQUOT", syncHead, unix.EDQUOT, broken},
	} {
		t.Run(x.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := openJournal(t, path, store.Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("%s=3 %d %d %s", faultChild, x.step, int(x.errno), path))
			out, err := child.CombinedOutput()
			if err != nil {
				if strings.Contains(string(out), noSeccomp) {
					t.Skipf("no way to let a system call fail: %s", out)
				}
				t.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			want := append([]string{"accepted 0", "accepted 1"}, x.want...)
			acked, last := 0, -1
			for i, line := range lines {
				if i >= len(want) || !strings.HasPrefix(line, want[i]) {
					t.Fatalf("want %q, got\n%s", want, out)
				}
				if n, ok := strings.CutPrefix(line, "accepted "); ok {
					acked++
					last, _ = strconv.Atoi(n)
				}
			}
			checkJournal(t, path, acked, last)
		})
	}
}

// checkJournal holds the journal at path to what was acknowledged of messages 0 to
// last; one more may be in it, whole, with its note.
func checkJournal(t *testing.T, path string, acked, last int) {
	t.Helper()
	if problems, err := store.Check(path); err != nil || len(problems) > 0 {
		t.Errorf("check: %q, %v", problems, err)
	}
	db := openJournal(t, path, store.Options{})
	defer db.Close()
	list, err := db.Records(store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	read, err := db.Note("read")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range list { // the newest first
		if want := fmt.Sprint("message ", len(list)-1-i); r.Data[0] != want {
			t.Errorf("%q stands where %q should", r.Data[0], want)
		}
	}
	if n := len(list); n < acked || n > acked+1 || string(read) != strconv.Itoa(n-1) || db.Counts().Waiting != n || last >= n {
		t.Errorf("%d messages and %+v, of %d that were acknowledged; the note says %q", n, db.Counts(), acked, read)
	}
}
