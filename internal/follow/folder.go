package follow

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// entry is a regular file in a folder.
type entry struct {
	path  string
	inode inode
	size  int64
	mtime int64 // nanoseconds
}

// compare orders entries by age, the oldest first. Where the clock of the file
// system is too coarse, app.log.2 is older than app.log.1.
func (e entry) compare(o entry) int {
	if c := cmp.Compare(e.mtime, o.mtime); c != 0 {
		return c
	}
	if c := cmp.Compare(o.turn(), e.turn()); c != 0 {
		return c
	}
	return cmp.Compare(e.path, o.path)
}

// turn is the small number that a rotated file's name ends with; 0: none.
func (e entry) turn() int {
	n, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(e.path), "."))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// holds reports whether e begins with what was accepted under p.
func (e entry) holds(p position) bool {
	f, fi, ino, err := openRegular(e.path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	same, err := p.sameAs(f, fi.Size())
	return err == nil && same && ino == e.inode
}

// folders are the listings of one scan.
type folders map[string][]entry

// listTries bounds how often a folder is listed to catch it at rest.
const listTries = 8

// errRestless says that a folder changes while it is looked at.
var errRestless = errors.New("the folder changes while it is listed")

// list is the regular files that were in dir at one moment: files are renamed
// while others are looked at, so it takes two listings that agree.
func (l folders) list(dir string) ([]entry, error) {
	if entries, ok := l[dir]; ok {
		return entries, nil
	}
	last, err := listOnce(dir)
	for range listTries {
		if err != nil {
			return nil, err
		}
		before := last
		if last, err = listOnce(dir); err == nil && slices.EqualFunc(before, last, entry.sameName) {
			l[dir] = last
			return last, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", dir, errRestless)
}

func (e entry) sameName(o entry) bool { return e.path == o.path && e.inode == o.inode }

// listOnce lists what is in dir: nothing where there is no such folder.
func listOnce(dir string) ([]entry, error) {
	names, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	entries := []entry{}
	for _, d := range names {
		fi, err := d.Info()
		if err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if ino, ok := inodeOf(fi); ok {
			entries = append(entries, entry{path: filepath.Join(dir, d.Name()), inode: ino, size: fi.Size(), mtime: fi.ModTime().UnixNano()})
		}
	}
	return entries, nil
}
