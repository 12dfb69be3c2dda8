package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// maxSocketPath is what every system's sockaddr_un has room for, the NUL included
// elsewhere: 104 bytes on BSD and macOS, 108 on Linux.
const maxSocketPath = 103

// shorten returns a name of path that fits a socket address for as long as
// release has not been called. The folder of path must exist.
func shorten(path string) (name string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if abs, err := filepath.Abs(path); err == nil {
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, abs); err == nil && len(rel) <= maxSocketPath {
				return rel, func() {}, nil
			}
		}
	}
	if runtime.GOOS == "linux" {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return "", nil, err
		}
		name := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
		if _, err := os.Stat(filepath.Dir(name)); err == nil && len(name) <= maxSocketPath {
			return name, func() { _ = dir.Close() }, nil
		}
		_ = dir.Close()
	}
	return "", nil, fmt.Errorf("socket %s: its path has %d bytes, and this system takes %d: use a data folder with a shorter path, or change into that folder first",
		path, len(path), maxSocketPath)
}

// listen makes the socket at path. It appears there listening and with mode 0600;
// one that nobody answers on is replaced.
func listen(ctx context.Context, path string) (*net.UnixListener, os.FileInfo, error) {
	if err := checkFree(ctx, path); err != nil {
		return nil, nil, err
	}
	// In a folder that only this user can enter, no moment matters.
	dir := path + ".new"
	if err := os.RemoveAll(dir); err != nil {
		return nil, nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an empty folder stays, and the next start removes it
	made := filepath.Join(dir, "s")
	name, release, err := shorten(made)
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	release()
	if err != nil {
		return nil, nil, err
	}
	// Its name is not where the socket will be by then.
	ln.SetUnlinkOnClose(false)
	info, err := publish(made, path)
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	return ln, info, nil
}

func publish(made, path string) (os.FileInfo, error) {
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, err
	}
	info, err := os.Lstat(made)
	if err != nil {
		return nil, err
	}
	return info, os.Rename(made, path)
}

// checkFree says whether path may be taken: nothing is there, or a socket that a
// dead process left.
func checkFree(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is not a socket: move it away", path)
	}
	conn, err := connect(ctx, path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s: %w", path, ErrInUse), conn.Close())
	}
	if nobody(err) {
		return nil
	}
	return fmt.Errorf("see whether %s is in use: %w", path, err)
}

func connect(ctx context.Context, path string) (net.Conn, error) {
	name, release, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer release()
	d := net.Dialer{Timeout: 5 * time.Second}
	return d.DialContext(ctx, "unix", name)
}

// nobody reports whether connect failed because no process listens.
func nobody(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// remove takes the socket at path away, if it is still the one that info is of.
func remove(path string, info os.FileInfo) error {
	now, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !os.SameFile(now, info) {
		return nil
	}
	return os.Remove(path)
}
