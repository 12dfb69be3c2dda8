package method

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"syscall"

	"github.com/steward-bus/steward/internal/failpoint"
)

// How a line gets into a file exactly once. The journal commits how long a file
// is together with the end of the messages that made it so. If a run dies after
// writing and before that commit, the same lines come again, in the same order:
// they are recognised beyond the committed length and written over themselves.
// Anything else that stands there is not ours: the file is kept under another
// name, and what the journal knows of it is copied to go on with.
//
// The file is never truncated, but for the NUL bytes that a power loss may leave
// beyond what had reached the disk; no line has any.
//
// Rotation moves a file whose whole length is committed, and needs no commit of
// its own: if the run dies then, the new file is shorter than the journal says
// and file.1 is exactly as long.

var (
	errNotRegular = errors.New("not a regular file")
	errStrange    = errors.New("the file holds what neither the journal nor these messages account for")
)

// logFiles appends to files below a data folder.
type logFiles struct {
	dataDir string
	maxSize int64
	keep    int
}

// logFile is one open file, in its folder.
type logFile struct {
	*os.File
	root  *os.Root // the folder
	base  string   // the name in it
	size  int64
	fresh bool // made by this opening
}

func (f *logFile) close() {
	_ = f.File.Close() // all that counts was synced
	_ = f.root.Close()
}

// append adds lines to the file name (slashes, relative to the data folder), of
// which the first committed bytes are known to be good, and returns its length
// once that is on disk. note is what an operator should know although it went
// well. Unless certain, errStrange asks to come again when nobody else can
// recognise the file.
func (l logFiles) append(name string, lines []byte, committed int64, known, certain bool) (length int64, note, err error) {
	f, note, err := l.prepare(name, len(lines), committed, known)
	if err != nil {
		return 0, note, err
	}
	defer f.close()
	at, err := f.place(lines, committed, known)
	if errors.Is(err, errStrange) && certain {
		if f.size > committed {
			if note, err = l.setAside(f, name, committed); err != nil {
				return 0, note, err
			}
			length, more, err := l.append(name, lines, committed, known, true)
			return length, errors.Join(note, more), err
		}
		note = fmt.Errorf("%s was cut from outside to %d of %d bytes: lines go on at its end", name, f.size, committed)
		at, err = f.size, nil
	}
	if err != nil {
		return 0, note, err
	}
	// Also what is there already is written: after a failed sync only that makes the
	// kernel try again to bring it to the disk.
	if _, err := f.WriteAt(lines, at); err != nil {
		return 0, note, err
	}
	failpoint.Hit(failpoint.LinesWritten)
	if err := syncData(f.File); err != nil {
		return 0, note, err
	}
	failpoint.Hit(failpoint.LinesSynced)
	if !known || f.fresh || f.size != committed {
		if err := l.syncFolders(name); err != nil {
			return 0, note, err
		}
	}
	return at + int64(len(lines)), note, nil
}

// prepare opens the file that adding bytes go to: a new one if the old one is
// full. It is only rotated where the journal knows all of it, and for less than
// it holds, so that the new file stays shorter than the journal says until that
// is told of it.
func (l logFiles) prepare(name string, adding int, committed int64, known bool) (f *logFile, note, err error) {
	f, err = l.open(name)
	if err != nil || !known || f.size != committed || f.size < l.maxSize || int64(adding) >= committed {
		return f, nil, err
	}
	if note = l.rotate(f); note != nil {
		return f, note, nil
	}
	f.close()
	f, err = l.open(name)
	return f, nil, err
}

// open opens or makes a regular file and its folders. Symbolic links cannot lead
// out of the data folder, and the file itself cannot be one.
func (l logFiles) open(name string) (*logFile, error) {
	data, err := os.OpenRoot(l.dataDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = data.Close() }() // nothing is written through it
	folder, base := path.Split(name)
	folder = path.Clean(folder)
	if err := data.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	root, err := data.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	f, err := openRegular(root, base)
	if err != nil {
		_ = root.Close() // nothing was done with it
		return nil, err
	}
	return f, nil
}

func openRegular(root *os.Root, base string) (*logFile, error) {
	before, err := root.Lstat(base)
	fresh := errors.Is(err, fs.ErrNotExist)
	flags := os.O_RDWR
	switch {
	case fresh:
		flags |= os.O_CREATE | os.O_EXCL
	case err != nil:
		return nil, err
	case !before.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w but %s", base, errNotRegular, before.Mode())
	}
	f, err := root.OpenFile(base, flags, 0o640)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fresh && !os.SameFile(before, fi) {
		err = fmt.Errorf("%s: %w that stays in its place", base, errNotRegular)
	}
	if err != nil {
		_ = f.Close() // nothing was done with it
		return nil, err
	}
	return &logFile{File: f, root: root, base: base, size: fi.Size(), fresh: fresh}, nil
}

// place is where lines belong; they, or their beginning, may be there already.
func (f *logFile) place(lines []byte, committed int64, known bool) (at int64, err error) {
	if f.size == committed || f.size == 0 {
		return f.size, nil
	}
	if f.size > committed {
		if ok, err := f.holds(committed, lines); ok || err != nil {
			return committed, err
		}
	}
	if f.size < committed && f.rotated(committed) {
		if ok, err := f.holds(0, lines); ok || err != nil {
			return 0, err
		}
	}
	return 0, errStrange
}

// rotated reports whether the file that the journal knows is file.1 by now.
func (f *logFile) rotated(committed int64) bool {
	fi, err := f.root.Lstat(f.base + ".1")
	return err == nil && fi.Size() == committed
}

// holds reports whether what stands at off is the beginning of lines, or begins
// with them. NUL bytes at the end of the file are removed.
func (f *logFile) holds(off int64, lines []byte) (bool, error) {
	there := make([]byte, min(f.size-off, int64(len(lines))))
	if _, err := f.ReadAt(there, off); err != nil {
		return false, err
	}
	there = bytes.TrimRight(there, "\x00")
	if !bytes.HasPrefix(lines, there) {
		return false, nil
	}
	end := off + int64(len(there))
	if zero, err := f.zeroFrom(end); !zero || err != nil {
		return len(there) == len(lines), err
	}
	return true, f.Truncate(end)
}

func (f *logFile) zeroFrom(off int64) (bool, error) {
	buf := make([]byte, 64<<10)
	for off < f.size {
		b := buf[:min(f.size-off, int64(len(buf)))]
		if _, err := f.ReadAt(b, off); err != nil {
			return false, err
		}
		if len(bytes.TrimRight(b, "\x00")) > 0 {
			return false, nil
		}
		off += int64(len(b))
	}
	return true, nil
}

// setAside gives f, as it was found, a name that nothing rotates or removes, and
// puts a file in its place that holds what the journal knows of. It says so.
func (l logFiles) setAside(f *logFile, name string, committed int64) (note, err error) {
	begun := f.base + ".foreign-0" // never seen as such, but by a run that died here
	if err := f.copyHead(begun, committed); err != nil {
		return nil, err
	}
	aside := ""
	for n := 1; aside == ""; n++ {
		next := fmt.Sprintf("%s.foreign-%d", f.base, n)
		switch fi, err := f.root.Lstat(next); {
		case errors.Is(err, fs.ErrNotExist):
			aside = next
		case err != nil:
			return nil, err
		case f.is(fi): // a run died between the two names
			if err := f.root.Remove(next); err != nil {
				return nil, err
			}
			aside = next
		}
	}
	if err := f.root.Link(f.base, aside); err != nil {
		if err = f.root.Rename(f.base, aside); err != nil { // a file system without links
			return nil, err
		}
	}
	if err := f.root.Rename(begun, f.base); err != nil {
		return nil, err
	}
	return fmt.Errorf("%s had %d bytes where the journal knows of %d, and the rest is not of the present messages: the file is kept as %s, lines go on after those %d bytes",
		name, f.size, committed, aside, committed), l.syncFolders(name)
}

// copyHead makes a durable file of the first n bytes of f.
func (f *logFile) copyHead(base string, n int64) error {
	if err := f.root.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	head, err := openRegular(f.root, base)
	if err != nil {
		return err
	}
	_, err = io.Copy(head.File, io.NewSectionReader(f.File, 0, n))
	if err == nil {
		err = head.Sync()
	}
	return errors.Join(err, head.Close())
}

// is reports whether fi is of f itself.
func (f *logFile) is(fi fs.FileInfo) bool {
	own, err := f.Stat()
	return err == nil && os.SameFile(own, fi)
}

// rotate moves file to file.1, after file.1 to file.2 and so on. A gap that an
// interrupted rotation left is filled first, so that no file is dropped for it.
// After an error f is still in its place.
func (l logFiles) rotate(f *logFile) error {
	rotated := func(n int) string { return fmt.Sprintf("%s.%d", f.base, n) }
	gap := 1
	for ; gap < l.keep; gap++ {
		if _, err := f.root.Lstat(rotated(gap)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	for n := gap; n > 1; n-- { // the oldest is overwritten if there is no gap
		if err := f.root.Rename(rotated(n-1), rotated(n)); err != nil {
			return fmt.Errorf("rotate %s: %w", f.base, err)
		}
	}
	if err := f.root.Rename(f.base, rotated(1)); err != nil {
		return fmt.Errorf("rotate %s: %w", f.base, err)
	}
	return nil
}

// syncFolders makes the entries of every folder on the way to name durable.
func (l logFiles) syncFolders(name string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there, and need not be
		return nil
	}
	data, err := os.OpenRoot(l.dataDir)
	if err != nil {
		return err
	}
	defer func() { _ = data.Close() }() // nothing is written through it
	for folder := path.Dir(name); ; folder = path.Dir(folder) {
		d, err := data.Open(folder)
		if err != nil {
			return err
		}
		err = d.Sync()
		_ = d.Close() // read only
		if err != nil || folder == "." {
			return err
		}
	}
}

// lasting is err if no waiting will mend it, because of the name that the sender
// chose or of what stands there; nil if the disk may recover.
func lasting(err error) error {
	if errors.Is(err, errNotRegular) {
		return err
	}
	for _, e := range []syscall.Errno{syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EEXIST} {
		if errors.Is(err, e) {
			return err
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		if _, ok := errors.AsType[syscall.Errno](pe.Err); !ok {
			return err // a path that leads out of the data folder
		}
	}
	return nil
}
