package follow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// noteVersion is the form of the notes; a note of a later form is refused.
const noteVersion = 1

// probe is how many bytes at a file's start, and before the position, are hashed.
const probe = 256

var errVersion = errors.New("position note: has version")

// position is the note of one file: which file it is, and how far it was
// accepted. It is stored as JSON.
type position struct {
	Version int    `json:"v"`
	Path    string `json:"path"`    // name under which it is, or was, followed
	Real    string `json:"real"`    // the same without symbolic links
	Device  uint64 `json:"dev"`     //
	Inode   uint64 `json:"inode"`   //
	HeadLen int    `json:"headLen"` // bytes from the start that Head is the hash of
	Head    string `json:"head"`    //
	TailLen int    `json:"tailLen"` // bytes before Offset that Tail is the hash of
	Tail    string `json:"tail"`    //
	Offset  int64  `json:"offset"`  // of the first byte that was not accepted
	Size    int64  `json:"size"`    // of the file when it was last looked at
	Mtime   int64  `json:"mtime"`   // of the file then, in nanoseconds
	Split   bool   `json:"split"`   // Offset is inside a line whose first pieces were accepted
	Rotated bool   `json:"rotated"` // Path is another file's name, and this one was read to its end
	Missing bool   `json:"missing"` // not to be found, and that was reported
}

func (p position) encode() []byte {
	p.Version = noteVersion
	b, err := json.Marshal(p)
	if err != nil {
		panic("follow: a position of plain fields does not marshal: " + err.Error())
	}
	return b
}

// decodePosition reads what encode wrote, and refuses what could not be used.
func decodePosition(b []byte) (position, error) {
	var p position
	if err := decodeNote(b, &p); err != nil {
		return position{}, err
	}
	switch {
	case !filepath.IsAbs(p.Path) || !filepath.IsAbs(p.Real):
		return position{}, errors.New("position note: a path is not absolute")
	case p.Offset < 0 || p.Size < 0:
		return position{}, errors.New("position note: a length is negative")
	case !hashOf(p.HeadLen, p.Head) || !hashOf(p.TailLen, p.Tail):
		return position{}, errors.New("position note: a fingerprint is malformed")
	case int64(p.TailLen) != min(p.Offset, probe):
		return position{}, errors.New("position note: the fingerprint does not fit the offset")
	}
	return p, nil
}

// index is the note that names the files of one source.
type index struct {
	Version int       `json:"v"`
	Next    uint64    `json:"next"`           // number of the next file
	Files   []uint64  `json:"files"`          // rising
	Dead    []uint64  `json:"dead,omitempty"` // files whose notes are deleted, or to be
	Passed  []*passed `json:"passed"`         // null: an earlier version did not look
}

func (x index) encode() []byte {
	x.Version = noteVersion
	b, err := json.Marshal(x)
	if err != nil {
		panic("follow: an index of plain fields does not marshal: " + err.Error())
	}
	return b
}

func decodeIndex(b []byte) (index, error) {
	var x index
	if err := decodeNote(b, &x); err != nil {
		return index{}, err
	}
	for i, id := range x.Files {
		if id >= x.Next || i > 0 && id <= x.Files[i-1] {
			return index{}, fmt.Errorf("position note: file number %d is out of order", id)
		}
	}
	for _, id := range x.Dead {
		if _, live := slices.BinarySearch(x.Files, id); live || id >= x.Next {
			return index{}, fmt.Errorf("position note: file number %d is called dead", id)
		}
	}
	for _, p := range x.Passed {
		if p == nil || !hashOf(p.HeadLen, p.Head) {
			return index{}, errors.New("position note: a fingerprint is malformed")
		}
	}
	return x, nil
}

func decodeNote(b []byte, v any) error {
	var head struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(b, &head) == nil && head.Version != noteVersion {
		return fmt.Errorf("%w %d, and this steward reads %d: run the steward that wrote it", errVersion, head.Version, noteVersion)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("position note: %w", err)
	}
	return nil
}

// hash is a fingerprint of b: empty for no bytes.
func hash(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}

func hashOf(n int, h string) bool {
	if n == 0 {
		return h == ""
	}
	b, err := hex.DecodeString(h)
	return err == nil && len(b) == 16 && n > 0 && n <= probe
}

// unread is how many bytes were seen in the file and not accepted.
func (p position) unread() int64 { return max(0, p.Size-p.Offset) }

// sameAs reports whether r, of the given size, begins with what was accepted of p.
func (p position) sameAs(r io.ReaderAt, size int64) (bool, error) {
	if size < p.Offset || size < int64(p.HeadLen) {
		return false, nil
	}
	for _, x := range []struct {
		at   int64
		n    int
		hash string
	}{{0, p.HeadLen, p.Head}, {p.Offset - int64(p.TailLen), p.TailLen, p.Tail}} {
		b := make([]byte, x.n)
		if n, err := r.ReadAt(b, x.at); n < x.n {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		if hash(b) != x.hash {
			return false, nil
		}
	}
	return true, nil
}
