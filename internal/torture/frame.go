package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// frame is one operation of NATS's protocol: a line, and for a message the bytes
// whose number stands at the end of that line.
//
//	HMSG <subject> <sid> [reply] <bytes of head> <bytes>\r\n<head and data>\r\n
type frame struct {
	bytes   []byte
	message bool
}

const maxFrame = 2 << 20

func readFrame(r *bufio.Reader) (f frame, err error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull { //nolint:errorlint // ReadSlice's own
		var rest []byte
		rest, err = r.ReadBytes('\n')
		line = append(slices.Clone(line), rest...)
	}
	if err != nil {
		return f, err
	}
	f.bytes = slices.Clone(line)
	words := bytes.Fields(line)
	if len(words) < 3 {
		return f, nil
	}
	switch string(bytes.ToUpper(words[0])) {
	case "MSG", "HMSG", "PUB", "HPUB":
	default:
		return f, nil
	}
	n, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || n < 0 || n > maxFrame {
		return f, fmt.Errorf("the size of %q: %w", line, err)
	}
	f.message = true
	head := len(f.bytes)
	f.bytes = append(f.bytes, make([]byte, n+2)...)
	_, err = io.ReadFull(r, f.bytes[head:])
	return f, err
}
