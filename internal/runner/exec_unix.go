//go:build unix

package runner

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup lets cmd lead a process group, so that all of it can be ended at once.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup sends s to every process in the group that pid leads, also when
// that one is gone. Signal 0 fails once nothing is left of the group.
func signalGroup(pid int, s syscall.Signal) error { return syscall.Kill(-pid, s) }

// deathOf says which signal ended a process, or nothing.
func deathOf(s *os.ProcessState) string {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return unix.SignalName(ws.Signal())
	}
	return ""
}
