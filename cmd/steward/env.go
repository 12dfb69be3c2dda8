package main

import (
	"io"

	"github.com/steward-bus/steward/internal/api"
)

// env is what every verb works with: its streams, and the flags that all share.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	stdoutTTY      bool
	data           string // --data or STEWARD_DATA: the folder of the local node
	format         string // -o: table, json, jsonl or yaml
}

// dial finds the local node. The error says how to start one.
func (e *env) dial() (*api.Client, error) {
	dir, err := e.dataDir()
	if err != nil {
		return nil, err
	}
	return api.Dial(dir)
}
