//go:build !unix

package runner

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signalGroup knows no groups and no polite signals here: any signal but 0 ends
// the process.
func signalGroup(pid int, s syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if s == 0 {
		return p.Signal(s)
	}
	return p.Kill()
}

func deathOf(*os.ProcessState) string { return "" }
