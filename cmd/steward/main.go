// Command steward is a node of the command bus, and the commands that talk to one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at build time by -ldflags "-X main.version=…".
var version = "dev"

func main() {
	ctx, stop := signals()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signals ends the context at the first SIGINT or SIGTERM, and the process at the
// second.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-c
		cancel()
		s, ok := (<-c).(syscall.Signal)
		if ok {
			os.Exit(128 + int(s))
		}
	}()
	return ctx, cancel
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, stdoutTTY: isTerminal(stdout)}
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var silent exitError
	if err != nil && !asExit(err, &silent) {
		fmt.Fprintln(stderr, "steward:", err)
	}
	return exitCode(err)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "steward",
		Short: "A command bus with guaranteed delivery",
		Long: `steward delivers commands to nodes when they can be reached, runs each at most
once, and brings the results back. Nothing that it accepted is lost.`,
		Example: `  steward demo                       # two nodes, one cut off and brought back
  steward run                        # a node with an embedded broker on loopback
  steward exec ship1 -- uname -a     # run a command and wait for its outcome`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&e.data, "data", os.Getenv("STEWARD_DATA"), "data folder of the node (or STEWARD_DATA)")
	root.AddCommand(
		e.runCmd(), e.demoCmd(), e.sendCmd(), e.execCmd(), e.messagesCmd(), e.showCmd(), e.traceCmd(), e.waitCmd(), e.cancelCmd(),
		e.resendCmd(), e.nodesCmd(), e.processesCmd(), e.errorsCmd(), e.statusCmd(), e.configCmd(), e.storeCmd(), e.versionCmd(), exitCodesHelp(),
	)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// wrapArgs makes a wrong number of arguments a usage error.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w\nusage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}
