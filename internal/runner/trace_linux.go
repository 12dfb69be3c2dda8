package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// version is the form of a trace. A runner refuses a later one.
const version = 1

// Ends of the names of traces; between taken and the end of the name stands who.
const (
	readyEnd = ".ready"
	taken    = ".run."
	doneEnd  = ".done"
	spare    = "spare."
)

// A trace is what the file of a run says, a line for each: what to run, then the
// process that it became, then its end. The lines come one by one, so that of the
// last two one or both may be missing, and what follows was an earlier run's: files
// are used again without being cut, which is slow. In a line stands a checksum, a
// space, and JSON; the checksum is over the id of the run and the lines before too.
type trace struct {
	head  head
	child *child
	end   *Result

	length int64  // of the lines that are whole
	sum    uint32 // of them
}

type head struct {
	Version int    `json:"v"`
	Place   string `json:"place"` // where and since when its name can be trusted
	Time    int64  `json:"time"`  // tells this run from an earlier one of the same id
	Env     []byte `json:"env"`   // with a zero byte between, as it need not be text
	Spec
}

// child is what is needed to end what a dead runner left behind.
type child struct {
	Pid   int    `json:"pid"`
	Group string `json:"group,omitempty"` // folder of its control group
}

func newHead(place string, s Spec) head {
	return head{Version: version, Place: place, Time: time.Now().UnixNano(), Env: []byte(strings.Join(s.Env, "\x00")), Spec: s}
}

// spec is what to run.
func (h head) spec() Spec {
	s := h.Spec
	s.Env = strings.Split(string(h.Env), "\x00")
	return s
}

// newTrace is one without a line.
func newTrace(id uuid.UUID) trace { return trace{sum: crc32.ChecksumIEEE(id[:])} }

func (t *trace) checksum(j []byte) uint32 { return crc32.Update(t.sum, crc32.IEEETable, j) }

// append writes the next line of t to f.
func (t *trace) append(f io.WriterAt, v any) error {
	j, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := t.checksum(j)
	n, err := f.WriteAt(fmt.Appendf(nil, "%08x %s\n", sum, j), t.length)
	if err != nil {
		return err
	}
	t.length, t.sum = t.length+int64(n), sum
	return nil
}

var errTorn = errors.New("what is left of it cannot be read")

// parse reads the lines of run id; one that is not whole is none.
func parse(id uuid.UUID, b []byte) (trace, error) {
	t := newTrace(id)
	t.child, t.end = new(child), new(Result)
	lines := []any{&t.head, t.child, t.end}
	n := 0
	for ; n < len(lines); n++ {
		line, _, whole := bytes.Cut(b[t.length:], []byte("\n"))
		text, j, ok := bytes.Cut(line, []byte(" "))
		sum, err := strconv.ParseUint(string(text), 16, 32)
		if !whole || !ok || err != nil || uint32(sum) != t.checksum(j) {
			break
		}
		if err := json.Unmarshal(j, lines[n]); err != nil {
			return t, err
		}
		t.length, t.sum = t.length+int64(len(line))+1, uint32(sum)
	}
	if n < 3 {
		t.end = nil
	}
	if n < 2 {
		t.child = nil
	}
	if n == 0 {
		return t, errTorn
	}
	if t.head.Version > version {
		return t, fmt.Errorf("it is of a later steward (form %d, this one knows %d)", t.head.Version, version)
	}
	return t, nil
}

// folder is where traces lie.
type folder string

func (d folder) path(id uuid.UUID, end string) string {
	return filepath.Join(string(d), id.String()+end)
}

func (d folder) read(id uuid.UUID, end string) (trace, error) {
	f, err := os.Open(d.path(id, end))
	if err != nil {
		return trace{}, err
	}
	defer f.Close()
	return readTrace(f, id)
}

func readTrace(f *os.File, id uuid.UUID) (trace, error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return trace{}, err
	}
	return parse(id, b)
}

func (d folder) has(id uuid.UUID, end string) bool {
	_, err := os.Lstat(d.path(id, end))
	return err == nil
}

// names lists the ends of the names of what is there of each run.
func (d folder) names() (map[uuid.UUID][]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	found := map[uuid.UUID][]string{}
	for _, e := range entries {
		name, end, ok := strings.Cut(e.Name(), ".")
		if id, err := uuid.Parse(name); ok && err == nil {
			found[id] = append(found[id], "."+end)
		}
	}
	return found, nil
}

// remove deletes what is there of run id.
func (d folder) remove(id uuid.UUID) error {
	found, err := d.names()
	for _, end := range found[id] {
		if e := os.Remove(d.path(id, end)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
