//go:build !linux

package method

import "os"

// syncData makes the content and the length of f durable.
func syncData(f *os.File) error { return f.Sync() }
