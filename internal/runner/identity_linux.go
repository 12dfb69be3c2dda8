package runner

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// bootFile names the time since the machine was started.
const bootFile = "/proc/sys/kernel/random/boot_id"

// placeOf names a folder, and the time since the machine was started: what a name
// in it says is true there and then only. In a copy it is another's truth, and of
// what an earlier boot renamed the disk may not know.
func placeOf(dir string) (string, error) {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return "", err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return fmt.Sprintf("%s/%d/%d", strings.TrimSpace(string(boot)), st.Dev, st.Ino), nil
}

// identity is a process by its pid and its start time in clock ticks since the
// boot, which together are given once; empty if there is no such process, or
// only what is left of one.
func identity(pid string) string {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third on: the second may hold anything
	if len(fields) < 20 || bytes.ContainsAny(fields[0], "ZX") {
		return ""
	}
	return fmt.Sprintf("%s.%s", pid, fields[19])
}

// alive reports whether the process of that identity is there.
func alive(who string) bool {
	pid, _, _ := strings.Cut(who, ".")
	return pid != "" && identity(pid) == who
}
