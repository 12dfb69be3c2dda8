//go:build unix

package follow

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// filesSupported says whether files have an identity that outlives their names.
const filesSupported = true

// inodeOf is the identity of a file.
func inodeOf(fi fs.FileInfo) (inode, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{device: uint64(st.Dev), number: uint64(st.Ino)}, true //nolint:unconvert // the types differ between systems
}

// openFile opens for reading; it does not wait for the writer of a FIFO.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// ownGroup lets cmd lead a process group, so that all of it can be ended at once.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends p and all that it started.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
