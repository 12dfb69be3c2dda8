package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/steward-bus/steward/internal/api"
)

// dataDir is the folder of the local node: as told, or the only one below ./data
// in which a node runs now.
func (e *env) dataDir() (string, error) {
	if e.data != "" {
		return e.data, nil
	}
	found, err := filepath.Glob(filepath.Join("data", "*", filepath.Base(api.SocketPath(""))))
	if err != nil {
		return "", err
	}
	var alive []string
	for _, socket := range found {
		dir := filepath.Dir(socket)
		if cl, err := api.Dial(dir); err == nil { // a socket may be left of a node that was killed
			cl.Close()
			alive = append(alive, dir)
		}
	}
	switch len(alive) {
	case 0:
		return "", fmt.Errorf("%w: no data folder below ./data has one: start it with 'steward run', or say where it runs by --data DIR or STEWARD_DATA", api.ErrNoNode)
	case 1:
		return alive[0], nil
	}
	return "", usageError{fmt.Errorf("%d nodes run here (%s): say which one by --data DIR or STEWARD_DATA", len(alive), strings.Join(alive, ", "))}
}
