package method

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// TextConfig bounds the files of TextLogging; zero values are the defaults.
type TextConfig struct {
	MaxSize int64 // a file that has reached it is rotated before the next lines; 64 MiB
	Keep    int   // rotated files that are kept: file.1, the youngest, to file.Keep; 10
}

const (
	textFolder      = "logs" // below the data folder; a folder for each sender in it
	defaultFile     = "log.txt"
	defaultTextSize = 64 << 20
	defaultTextKeep = 10
	maxTextPath     = 1024
	maxTextName     = 240 // of one folder or file: room for a suffix
	firstPause      = 100 * time.Millisecond
	longestPause    = 30 * time.Second
	yieldTime       = 2 * time.Second
)

// textLogging appends each string of data as one line to
// logs/<fromNode>/<directory>/<fileName>, each exactly once.
func textLogging(h *Host) process.Method {
	t := &textLog{host: h, lanes: lanes{committed: h.Committed}, files: logFiles{
		dataDir: h.DataDir,
		maxSize: cmp.Or(h.Text.MaxSize, defaultTextSize),
		keep:    cmp.Or(h.Text.Keep, defaultTextKeep),
	}}
	return process.Method{
		Name:  "TextLogging",
		Kinds: []subject.Kind{subject.EventACK, subject.EventNACK},
		Check: checkText,
		Batch: t.batch,
	}
}

// textLog is the method; see logfile.go for how a line gets into a file once.
type textLog struct {
	host  *Host
	lanes lanes
	files logFiles
}

// logName is where the lines of m go, relative to the data folder.
func logName(m *message.Message) string {
	return path.Join(textFolder, m.FromNode, m.Directory, cmp.Or(m.FileName, defaultFile))
}

func checkText(m *message.Message) error {
	if len(m.Data) == 0 {
		return errors.New("data is empty: want the lines to write")
	}
	rel := path.Join(m.Directory, cmp.Or(m.FileName, defaultFile))
	if len(rel) > maxTextPath {
		return fmt.Errorf("directory and fileName have %d bytes: want at most %d", len(rel), maxTextPath)
	}
	for name := range strings.SplitSeq(rel, "/") {
		switch {
		case len(name) > maxTextName:
			return fmt.Errorf("directory or fileName: %.40q… has %d bytes: want at most %d", name, len(name), maxTextName)
		case strings.ContainsFunc(name, unicode.IsControl):
			return fmt.Errorf("directory or fileName: %q has a control character", name)
		case reserved(name):
			return fmt.Errorf("directory or fileName: %q ends as rotated files do (.1 to .999, .foreign-1): choose another name", name)
		}
	}
	return nil
}

// reserved reports whether a file of this name could be taken for a rotated one,
// or for one that was set aside.
func reserved(name string) bool {
	suffix := name[strings.LastIndexByte(name, '.')+1:]
	number, foreign := strings.CutPrefix(suffix, "foreign-")
	return len(suffix) < len(name) && number != "" && (foreign || len(number) <= 3) &&
		strings.Trim(number, "0123456789") == ""
}

// addition is what one batch adds to one file.
type addition struct {
	name  string
	lines []byte
	err   error // why these lines can never be written there
}

// batch writes the lines of ms and returns when they are on disk. It tries again
// while the disk or the journal says no, so that no line ends as failed for that;
// if ctx ends before all is written, nothing counts.
func (t *textLog) batch(ctx context.Context, ms []*message.Message) ([]message.Result, []process.FileLength) {
	if len(ms) == 0 {
		return nil, nil
	}
	start := time.Now()
	from, kind := ms[0].FromNode, ms[0].Kind
	if t.lanes.enter(ctx, from, kind, 0) != nil {
		return nil, nil
	}
	all, byName := gather(ms)
	lengths, err := t.writeAll(ctx, from, kind, all)
	if err != nil {
		t.lanes.leave(from, kind, []process.FileLength{{Length: uncommittable}})
		return nil, nil
	}
	t.lanes.leave(from, kind, lengths)
	results := make([]message.Result, len(ms))
	for i, m := range ms {
		if err := byName[logName(m)].err; err != nil {
			results[i] = failed(start, err)
		} else {
			results[i] = message.Result{Outcome: ack.Done, StartedAt: start, EndedAt: time.Now()}
		}
	}
	return results, lengths
}

// gather joins the lines of ms by file, in order.
func gather(ms []*message.Message) (all []*addition, byName map[string]*addition) {
	byName = map[string]*addition{}
	for _, m := range ms {
		name := logName(m)
		a := byName[name]
		if a == nil {
			a = &addition{name: name}
			byName[name] = a
			all = append(all, a)
		}
		for _, line := range m.Data {
			a.lines = append(append(a.lines, line...), '\n')
		}
	}
	return all, byName
}

// writeAll writes every addition. Its only error is that of ctx.
func (t *textLog) writeAll(ctx context.Context, from string, kind subject.Kind, all []*addition) ([]process.FileLength, error) {
	var lengths []process.FileLength
	yielded := false
	for _, a := range all {
		for pause := firstPause; ; pause = min(2*pause, longestPause) {
			n, err := t.write(a, yielded)
			if err == nil {
				lengths = append(lengths, process.FileLength{Name: a.name, Length: n})
				break
			}
			if a.err = lasting(err); a.err != nil {
				break
			}
			if errors.Is(err, errStrange) {
				yielded = true
				if err := t.lanes.yield(ctx, from, kind); err != nil {
					return nil, err
				}
				continue
			}
			t.host.report(fmt.Errorf("lines for %s wait: %w", a.name, err))
			if err := wait(ctx, pause); err != nil {
				return nil, err
			}
		}
	}
	return lengths, nil
}

// write puts a into its file, once, and returns the file's length. certain says
// that nobody else can have written what stands there beyond the commit.
func (t *textLog) write(a *addition, certain bool) (int64, error) {
	committed, known := int64(0), false
	if t.host.Committed != nil {
		var err error
		if committed, known, err = t.host.Committed(a.name); err != nil {
			return 0, err
		}
	}
	n, note, err := t.files.append(a.name, a.lines, committed, known, certain)
	if note != nil {
		t.host.report(note)
	}
	return n, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
