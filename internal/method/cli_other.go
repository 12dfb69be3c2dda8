//go:build !unix

package method

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signalGroup knows no groups and no polite signals here: any signal but 0 ends p.
func signalGroup(p *os.Process, s syscall.Signal) error {
	if s == 0 {
		return p.Signal(s)
	}
	return p.Kill()
}

func deathOf(*os.ProcessState) string { return "" }
