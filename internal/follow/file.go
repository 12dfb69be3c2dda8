package follow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

var (
	errNotRegular = errors.New("not a regular file")
	errMoved      = errors.New("another file by now")
	errTruncated  = errors.New("no longer holds what was read from it")
)

// inode is a file's identity while it exists.
type inode struct{ device, number uint64 }

// file is one file of a source: its position, and how it was found.
type file struct {
	position
	id     uint64
	stored bool // the notes know of it
	dirty  bool // its note is to be written again

	f         *os.File
	at        string    // where it was found last
	unsure    bool      // not open, and nobody knows yet where it is
	resting   bool      // closed after its rotation
	restMtime int64     // of the file when it was closed
	live      bool      // Path leads to it
	met       bool      // its head was known before the present scan
	ready     bool      // nothing older is beside it: it may be read
	truncated bool      // found changed under the position
	buried    bool      // found replaced: it only says what came before its successors
	loaded    bool      // from a note of an earlier run, and not opened since
	quiet     time.Time // since when nothing happened to it
	gone      time.Time // since when it is missing
}

func (x *file) inode() inode { return inode{x.Device, x.Inode} }

// done reports whether all of a rotated file was accepted.
func (x *file) done() bool { return x.Rotated && x.unread() == 0 }

// rests reports whether a closed file is as it was left.
func (x *file) rests(fi fs.FileInfo) bool {
	ino, ok := inodeOf(fi)
	return ok && ino == x.inode() && x.resting && fi.Size() == x.Offset && fi.ModTime().UnixNano() == x.restMtime
}

func (x *file) close() {
	if x.f != nil {
		_ = x.f.Close() // only read
		x.f = nil
	}
}

// openRegular opens the regular file at path; what it tells is of the open file.
func openRegular(path string) (f *os.File, fi fs.FileInfo, ino inode, err error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, nil, inode{}, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, inode{}, fmt.Errorf("%s: %w", path, errNotRegular)
	}
	if f, err = openFile(path); err != nil {
		return nil, nil, inode{}, err
	}
	if fi, err = f.Stat(); err == nil && !os.SameFile(before, fi) {
		err = fmt.Errorf("%s: %w", path, errMoved)
	}
	if err == nil {
		var ok bool
		if ino, ok = inodeOf(fi); !ok {
			err = fmt.Errorf("%s: its file system tells no inodes", path)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, inode{}, err
	}
	return f, fi, ino, nil
}

// newFile is an open file that nothing is known about, to be read from its start.
func newFile(path, at string, now time.Time) (*file, error) {
	f, fi, ino, err := openRegular(at)
	if err != nil {
		return nil, err
	}
	x := &file{f: f, at: at, live: path == at, quiet: now}
	x.Path, x.Real = path, path
	if path == at {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			x.Real = real
		}
	}
	x.Device, x.Inode = ino.device, ino.number
	x.Size, x.Mtime = fi.Size(), fi.ModTime().UnixNano()
	if err := x.meet(); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// meet notes the head of a file of which nothing was read.
func (x *file) meet() error {
	head := make([]byte, probe)
	n, err := x.f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	x.HeadLen, x.Head = n, hash(head[:n])
	return nil
}

// skipToEnd sets the position of a new file behind its last newline, looking
// back no further than limit.
func (x *file) skipToEnd(limit int) error {
	from := max(0, x.Size-int64(limit))
	b := make([]byte, x.Size-from)
	n, err := x.f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b = b[:n]
	for n = len(b); n > 0 && b[n-1] != '\n'; n-- {
	}
	if n == 0 && from > 0 {
		n = len(b) // inside a line that is longer than limit
	}
	x.Offset = from + int64(n)
	x.TailLen = int(min(x.Offset, probe))
	tail := make([]byte, x.TailLen)
	if _, err := x.f.ReadAt(tail, x.Offset-int64(x.TailLen)); err != nil {
		return err
	}
	x.Tail = hash(tail)
	return nil
}

// look is what the file system tells of the open file.
func (x *file) look() (size, mtime int64, err error) {
	fi, err := x.f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if fi.Size() < x.Offset {
		err = errTruncated
	}
	return fi.Size(), fi.ModTime().UnixNano(), err
}

// saw notes what look told, once the file is known to be the same.
func (x *file) saw(size, mtime int64, now time.Time) {
	if size != x.Size {
		x.quiet = now
	}
	x.Size = size
	if x.live && x.Offset > 0 { // what is younger than it came after what was read of x
		x.Mtime = mtime
	}
}

// verify fails with errTruncated where the open file no longer begins with what
// was accepted of it, or with the head that it was met with.
func (x *file) verify(now time.Time) error {
	size, mtime, err := x.look()
	if err != nil {
		return err
	}
	same, err := x.sameAs(x.f, size)
	if err == nil && !same {
		err = errTruncated
	}
	if err == nil {
		x.saw(size, mtime, now)
	}
	return err
}

// read fills b from the position on, and with the bytes before it that make up
// its fingerprint: those are checked in the same read.
func (x *file) read(b []byte) (fresh []byte, err error) {
	n, err := x.f.ReadAt(b, x.Offset-int64(x.TailLen))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n < x.TailLen || hash(b[:x.TailLen]) != x.Tail {
		return nil, errTruncated
	}
	if x.Offset == 0 && (n < x.HeadLen || hash(b[:x.HeadLen]) != x.Head) {
		return nil, errTruncated
	}
	return b[x.TailLen:n], nil
}

// advance is the position after the first taken of the bytes that read gave in b.
func (x *file) advance(b []byte, fresh, taken int, split bool) position {
	p := x.position
	start := p.Offset - int64(p.TailLen)
	if have := min(probe, p.TailLen+fresh); start == 0 && have > p.HeadLen {
		p.HeadLen, p.Head = have, hash(b[:have])
	}
	p.Offset += int64(taken)
	end := p.TailLen + taken
	p.TailLen = int(min(p.Offset, probe))
	p.Tail = hash(b[end-p.TailLen : end])
	p.Size = max(p.Size, p.Offset)
	p.Split = split
	return p
}
