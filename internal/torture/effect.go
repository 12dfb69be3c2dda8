package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What a command of the workload does after its effect; some take a number.
const (
	doOK       = "ok"       // prints so many bytes
	doSlow     = "slow"     // takes so many milliseconds
	doFail     = "fail"     // ends with that code
	doHang     = "hang"     // does not end by itself
	doStubborn = "stubborn" // nor when it is asked to
	doSpew     = "spew"     // prints for ever, on both of its outputs
	doFork     = "fork"     // leaves a child in a session of its own that holds its output
	doFlood    = "flood"    // prints so many bytes, far more than are kept
)

// effect is what the commands of the workload run: one line that says "this ran",
// on disk before anything else happens.
func effect(args []string) (code int, err error) {
	if len(args) != 3 {
		return 2, errors.New("want: effect FILE KEY WHAT")
	}
	file, key := args[0], args[1]
	if err := leaveLine(file, fmt.Sprintf("%s %s %d %d\n", key, os.Getenv("STEWARD_MESSAGE_ID"), os.Getpid(), time.Now().UnixNano())); err != nil {
		return 1, err
	}
	what, number, _ := strings.Cut(args[2], ":")
	n, _ := strconv.Atoi(number)
	switch what {
	case doOK, doFlood:
		_, err = os.Stdout.WriteString(outputOf(key, n))
	case doSlow:
		time.Sleep(time.Duration(n) * time.Millisecond)
	case doFail:
		code = n
	case doStubborn:
		signal.Ignore(syscall.SIGTERM)
		fallthrough
	case doHang:
		time.Sleep(time.Minute)
	case doSpew:
		for err == nil {
			_, err = fmt.Fprintln(os.Stdout, key)
			fmt.Fprintln(os.Stderr, key)
		}
	case doFork:
		child := exec.CommandContext(context.Background(), "sleep", "1")
		child.Stdout, child.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
		err = child.Start()
	}
	return code, err
}

func leaveLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// outputOf is what a command of that key prints: nothing else has it.
func outputOf(key string, n int) string {
	return strings.Repeat(key+"\n", n/(len(key)+1)+1)[:n]
}
