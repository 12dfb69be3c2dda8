package main

import (
	"fmt"
	"path/filepath"

	"github.com/steward-bus/steward/internal/api"
)

// dataDir is the folder of the local node: as told, or the only one below ./data
// in which a node runs.
func (e *env) dataDir() (string, error) {
	if e.data != "" {
		return e.data, nil
	}
	found, err := filepath.Glob(filepath.Join("data", "*", filepath.Base(api.SocketPath(""))))
	if err != nil {
		return "", err
	}
	if len(found) == 1 {
		return filepath.Dir(found[0]), nil
	}
	return "", fmt.Errorf("%w: %d nodes run below ./data: say which one by --data DIR or STEWARD_DATA, or start one with `steward run`", api.ErrNoNode, len(found))
}
