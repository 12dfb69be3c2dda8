package submit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const reasonSuffix = ".reason"

// PruneRejected deletes what was refused longest ago, each with its reason, until
// at most maxTexts are left in the folder of what was refused below dir. It returns
// how many it deleted.
func PruneRejected(dir string, maxTexts int) (deleted int, err error) {
	dir = filepath.Join(dir, rejectedDir)
	gone, err := prune(dir, maxTexts, func(name string) bool { return !strings.HasSuffix(name, reasonSuffix) })
	errs := []error{err}
	for _, name := range gone {
		errs = append(errs, remove(filepath.Join(dir, name+reasonSuffix)))
	}
	if err := errors.Join(errs...); err != nil {
		return len(gone), fmt.Errorf("prune what was refused: %w", err)
	}
	return len(gone), nil
}

// prune deletes the files of dir that count and were written longest ago, until
// at most limit of these are left, and what a crash left half-written.
func prune(dir string, limit int, counts func(name string) bool) (gone []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []fs.FileInfo
	var errs []error
	for _, e := range entries {
		fi, err := e.Info()
		switch {
		case err != nil || fi.IsDir():
		case strings.HasPrefix(e.Name(), partPrefix):
			if time.Since(fi.ModTime()) > time.Hour {
				errs = append(errs, remove(filepath.Join(dir, e.Name())))
			}
		case counts(e.Name()):
			files = append(files, fi)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for len(files) > max(0, limit) {
		gone = append(gone, files[0].Name())
		errs = append(errs, remove(filepath.Join(dir, files[0].Name())))
		files = files[1:]
	}
	return gone, errors.Join(errs...)
}
