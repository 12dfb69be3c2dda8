// Command steward is a node of the command bus, and the commands that talk to one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/runner"
)

// version is set at build time by -ldflags "-X main.version=…".
var version = "dev"

func main() {
	if len(os.Args) > 1 && os.Args[1] == runner.Verb { // for a node's own use, and quick to start
		os.Exit(runner.Main(os.Args[2:]))
	}
	ctx, stop := signals()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signals ends the context at the first SIGINT, SIGTERM or SIGHUP, and the process
// at the next. Of SIGHUP more than one comes where a terminal goes away, so a later
// one hurries nobody; and where it was ignored from the start (nohup) it stays so.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
	go func() { // lives as long as the process
		<-c
		cancel()
		for s := range c {
			if s, ok := s.(syscall.Signal); ok && s != syscall.SIGHUP {
				os.Exit(128 + int(s))
			}
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
		Short: "A command bus with guaranteed delivery", Version: version,
		Long: `steward delivers commands to nodes when they can be reached, runs each at most
once, and brings the results back. Nothing that it accepted is lost.`,
		Example: `  steward demo                       # two nodes, one cut off and brought back
  steward run                        # a node with an embedded broker on loopback
  steward exec ship1 -- uname -a     # run a command and wait for its outcome`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return e.checkFormat() },
	}
	root.SetVersionTemplate("steward {{.Version}}\n")
	group(root)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if (c.Name() == "exec" || c.Name() == "send") && strings.HasPrefix(err.Error(), "unknown") {
			err = fmt.Errorf("%w: what belongs to the message comes after --, as in: %s", err, strings.TrimSpace(strings.SplitN(c.Example, "\n", 2)[0]))
		}
		return usageError{err}
	})
	root.PersistentFlags().StringVar(&e.data, "data", os.Getenv("STEWARD_DATA"), "data folder `DIR` of the node (or STEWARD_DATA; else the one below ./data in which a node runs)")
	root.AddCommand(
		e.runCmd(), e.demoCmd(), e.sendCmd(), e.execCmd(), e.messagesCmd(), e.showCmd(), e.traceCmd(), e.waitCmd(), e.cancelCmd(),
		e.resendCmd(), e.nodesCmd(), e.processesCmd(), e.errorsCmd(), e.statusCmd(), e.configCmd(), e.storeCmd(), e.versionCmd(), exitCodesHelp(),
	)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// group makes c, which only holds other commands, refuse what is none of them.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
		}
		return usageError{err}
	}
	c.SuggestionsMinimumDistance = 2
	return c
}

// noArgs is for commands without arguments.
func noArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasSubCommands():
		return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	}
	return fmt.Errorf("%s takes no arguments: %q is one", c.CommandPath(), args[0])
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
