//go:build !unix

package follow

import (
	"io/fs"
	"os"
	"os/exec"
)

// filesSupported says whether files have an identity that outlives their names.
const filesSupported = false

func inodeOf(fs.FileInfo) (inode, bool) { return inode{}, false }

func openFile(path string) (*os.File, error) { return os.Open(path) }

func ownGroup(*exec.Cmd) {}

func killGroup(p *os.Process) error { return p.Kill() }
