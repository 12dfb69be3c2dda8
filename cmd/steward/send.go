package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// draft is a submission as the flags of send and exec describe it.
type draft struct {
	To            []string          `json:"toNodes"`
	Data          []string          `json:"data"`
	Kind          subject.Kind      `json:"commandOrEvent"`
	Method        string            `json:"method"`
	AckTimeout    string            `json:"timeout,omitempty"`
	Retries       int               `json:"retries,omitempty"`
	MethodTimeout string            `json:"methodTimeout,omitempty"`
	Expires       string            `json:"expires,omitempty"`
	OnUnknown     message.OnUnknown `json:"onUnknown,omitempty"`
	ReplyTo       string            `json:"replyTo,omitempty"`
	ReplyMethod   string            `json:"replyMethod,omitempty"`
	Directory     string            `json:"directory,omitempty"`
	FileName      string            `json:"fileName,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// document is the draft as JSON. Bytes that are no text are refused here: JSON
// would put others in their place, and another command would run.
func (d *draft) document() ([]byte, error) {
	texts := slices.Concat(d.Data, []string{d.Directory, d.FileName})
	for k, v := range d.Labels {
		texts = append(texts, k, v)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return nil, usageError{fmt.Errorf("%q is not UTF-8: a message holds text only; for a file with such a name use a pattern, or a shell's printf on the node", s)}
		}
	}
	return json.Marshal(d)
}

// plain takes out of an error where in a document it stands: nobody wrote one.
func (d *draft) plain(err error) error {
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || len(d.To) == 0 || len(p.Errors) == 0 {
		return err
	}
	wrong := make([]error, len(p.Errors))
	for i, x := range p.Errors {
		text := x.Message
		if _, after, found := strings.Cut(text, message.ErrInvalid.Error()+": "); found {
			text = after
		}
		wrong[i] = errors.New(text)
	}
	return usageError{fmt.Errorf("%w: nothing was accepted", errors.Join(wrong...))}
}

func (d *draft) limits(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&d.AckTimeout, "ack-timeout", "", "how long one attempt waits for its ack: a `DURATION` (5s)")
	f.IntVar(&d.Retries, "retries", 0, "`N` attempts after the first that the node leaves unanswered; 0: until it expires")
	f.StringVar(&d.MethodTimeout, "method-timeout", "", "bound of the run: a `DURATION` (10m)")
	f.StringVar(&d.Expires, "expires", "", "end of the lifetime, such as 1h, 7d or an RFC 3339 `TIME` (7d)")
	choose(c, &d.OnUnknown, "on-unknown", "`ACTION` of a node with a command that it had begun, if it cannot tell how that ended (report)", []message.OnUnknown{message.Report, message.Rerun})
	f.StringVar(&d.ReplyTo, "reply-to", "", "`NODE` that gets the output besides")
	f.StringVar(&d.ReplyMethod, "reply-method", "", "`METHOD` that it gets it by")
	f.StringToStringVarP(&d.Labels, "label", "l", nil, "`KEY=VALUE`, to find it again")
	f.Lookup("label").DefValue = ""
}

func (e *env) sendCmd() *cobra.Command {
	d := draft{Kind: subject.CommandACK}
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "send {FILE | - | --to NODE[,NODE...] --method METHOD [flags] -- [DATA...]}",
		Short: "Submit messages, from a file, from stdin or from flags", DisableFlagsInUseLine: true,
		Long: `send submits messages: those of a file or of stdin in the form that inmsg.txt has, or one that
flags describe. When it prints them they are durable. All of them are accepted, or none.`,
		Example: `  steward send --to ship1,ship2 --method CLICommand --expires 1h -- uname -a
  steward send --to central --kind EventACK --method TextLogging --file-name notes.log -- 'a line'
  steward send examples/messages/toShip1-CLICommand.json --wait
  cat messages.json | steward send -`,
		RunE: func(c *cobra.Command, args []string) error {
			wait = wait || timeout > 0
			doc, err := e.submission(d, args)
			if err != nil {
				return err
			}
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				records, err := cl.SubmitDocument(ctx, doc)
				if err != nil {
					return d.plain(err)
				}
				if wait {
					if records, err = e.await(ctx, cl, records, timeout); err != nil {
						return err
					}
				}
				err = printAll(e, records, func() [][]string { return messageRows(records) })
				if wait && err == nil {
					return ended(records)
				}
				return err
			})
		},
	}
	f := c.Flags()
	f.StringSliceVar(&d.To, "to", nil, "receiving `NODES`")
	choose(c, &d.Kind, "kind", "`KIND`", subject.Kinds)
	f.StringVar(&d.Method, "method", "", "`METHOD`: what the receiver does with it")
	f.StringVar(&d.Directory, "directory", "", "`FOLDER`, for methods that write files")
	f.StringVar(&d.FileName, "file-name", "", "`FILE`, for methods that write files")
	f.BoolVar(&wait, "wait", false, "wait for the outcomes")
	f.DurationVar(&timeout, "timeout", 0, "wait for that `DURATION` at most; the message goes on")
	d.limits(c)
	e.completeFlags(c)
	return e.outputFlag(c)
}

// submission is the document that the arguments mean: a file, stdin, or flags.
func (e *env) submission(d draft, args []string) ([]byte, error) {
	if (len(d.To) > 0) != (d.Method != "") {
		return nil, usageError{errors.New("--to and --method go together: a message has a receiver and a method")}
	}
	if len(d.To) > 0 {
		d.Data = append([]string{}, args...)
		return d.document()
	}
	if len(args) != 1 {
		return nil, usageError{errors.New("send takes one FILE, or - for stdin, or --to NODE --method METHOD: see steward send --help")}
	}
	if args[0] == "-" {
		return io.ReadAll(io.LimitReader(e.stdin, api.MaxDocument+1))
	}
	return os.ReadFile(args[0])
}

func (e *env) execCmd() *cobra.Command {
	d := draft{Kind: subject.CommandACK, Method: "CLICommand"}
	var detach, concurrent bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "exec NODE[,NODE...] [flags] -- COMMAND [ARG...]", DisableFlagsInUseLine: true, Short: "Run a command on nodes, and wait for what it says",
		Long: `exec submits a CLICommand to each node, waits for the outcomes, and writes what the commands
wrote to stdout and stderr. With one node it ends with the exit code of the command; see
steward exit-codes. Interrupting it, or --timeout, ends the waiting, never the message: what
was accepted will be delivered.`,
		Example: "  steward exec ship1 -- uname -a\n  steward exec ship1,ship2 --timeout 30s -- systemctl is-active ssh\n  steward exec ship1 --detach -- reboot",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("exec needs a node and a command")
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return e.completeNodes(c, args, toComplete)
		},
		RunE: func(c *cobra.Command, args []string) error {
			d.To, d.Data = strings.Split(args[0], ","), args[1:]
			if concurrent {
				d.Method = "CLICommandConcurrent"
			}
			return e.with(c, func(ctx context.Context, cl *api.Client) error { return e.exec(ctx, cl, d, detach, timeout) })
		},
	}
	c.Flags().BoolVarP(&detach, "detach", "d", false, "print the ids and do not wait")
	c.Flags().BoolVar(&concurrent, "concurrent", false, "do not wait for commands that were sent before")
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait for that `DURATION` at most; the message goes on")
	d.limits(c)
	e.completeFlags(c)
	return e.outputFlag(c)
}

func (e *env) exec(ctx context.Context, cl *api.Client, d draft, detach bool, timeout time.Duration) error {
	doc, err := d.document()
	if err != nil {
		return err
	}
	records, err := cl.SubmitDocument(ctx, doc)
	if err != nil {
		return d.plain(err)
	}
	if detach {
		if !e.isTable() {
			return printAll(e, records, nil)
		}
		for _, r := range records {
			fmt.Fprintln(e.stdout, r.ID)
		}
		return nil
	}
	if records, err = e.await(ctx, cl, records, timeout); err != nil {
		return err
	}
	if !e.isTable() {
		if err := printAll(e, records, nil); err != nil {
			return err
		}
		return ended(records)
	}
	for _, r := range records {
		prefix := ""
		if len(records) > 1 {
			prefix = r.ToNode + ": "
		}
		if err := e.outputOf(r, prefix); err != nil {
			return err
		}
		if r.State == store.Ended && r.Outcome != ack.Done {
			fmt.Fprintf(e.stderr, "steward: %s: %s%s\n", r.ToNode, r.Outcome, because(r))
		}
	}
	return ended(records)
}

func because(r store.Record) string {
	switch {
	case r.Result != nil && r.Result.ExitCode != nil:
		return fmt.Sprintf(" (exit code %d)", *r.Result.ExitCode)
	case r.State == store.Waiting && r.LastError != "":
		return ": " + printable(cut(r.LastError, 300))
	case r.Reason != "":
		return ": " + printable(cut(r.Reason, 300))
	}
	return ""
}

// await waits for the outcomes of all records, side by side, at most timeout if
// that is not 0. What is still on its way then is named with how to wait on.
func (e *env) await(ctx context.Context, cl *api.Client, records []store.Record, timeout time.Duration) ([]store.Record, error) {
	wctx := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		wctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	answered := e.notice(ctx, cl, records)
	errs := make([]error, len(records))
	slots := make(chan struct{}, 64)
	var group sync.WaitGroup
	for i := range records {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r, err := cl.Wait(wctx, records[i].ID)
			if err == nil {
				records[i] = r
			}
			errs[i] = err
		})
	}
	group.Wait()
	answered()
	var late []string
	for i, err := range errs {
		switch {
		case err == nil:
		case wctx.Err() != nil:
			late = append(late, records[i].ID)
			if r, err := cl.Message(ctx, records[i].ID); err == nil {
				records[i] = r // where it stands now
			}
		default:
			return records, err
		}
	}
	if len(late) > 0 {
		fmt.Fprintf(e.stderr, "steward: still on its way; nothing is lost. To wait on: steward wait %s\n", strings.Join(late, " "))
	}
	return records, nil
}

// noticeAfter is how long a person waits without being told for what.
const noticeAfter = 3 * time.Second

// notice tells a person at a terminal, after a while, who has not answered yet
// and why. The function that it returns ends it.
func (e *env) notice(ctx context.Context, cl *api.Client, records []store.Record) (end func()) {
	if !isTerminal(e.stderr) {
		return func() {}
	}
	records = slices.Clone(records) // the caller's change meanwhile
	ctx, cancel := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(noticeAfter):
		}
		for _, r := range records {
			if r, err := cl.Message(ctx, r.ID); err == nil && r.State != store.Ended {
				fmt.Fprintf(e.stderr, "steward: %s: %s%s\n", r.ToNode, r.State, because(r))
			}
		}
		if ctx.Err() == nil {
			fmt.Fprintln(e.stderr, "steward: Ctrl-C ends the waiting; the messages go on")
		}
	})
	return func() {
		cancel()
		told.Wait()
	}
}

func (e *env) waitCmd() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait ID...", Short: "Wait for the outcomes of messages", Args: cobra.MinimumNArgs(1), ValidArgsFunction: e.completeIDs,
		Example: "  steward wait last --timeout 30s",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				records := make([]store.Record, len(args))
				for i, id := range args {
					r, err := cl.Message(ctx, id)
					if err != nil {
						return err
					}
					records[i] = r
				}
				records, err := e.await(ctx, cl, records, timeout)
				if err != nil {
					return err
				}
				if err := printAll(e, records, func() [][]string { return messageRows(records) }); err != nil {
					return err
				}
				return ended(records)
			})
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait for that `DURATION` at most; the message goes on")
	return e.outputFlag(c)
}

func (e *env) cancelCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "cancel ID|last", Short: "Withdraw a message, if it is not too late", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Long: `A message that was never sent is cancelled at once. After an attempt the receiver is asked, and its
answer decides: until it has come the message is cancelling, and the exit code 75.`,
		Example: "  steward cancel last",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				r, err := cl.Cancel(ctx, args[0])
				if err != nil {
					return err
				}
				if err := printOne(e, r, func() [][]string { return messageRows([]store.Record{r}) }); err != nil || r.State == store.Ended {
					return err
				}
				fmt.Fprintf(e.stderr, "steward: %s may have it: it is asked, and its answer decides. To wait for that: steward wait %s\n", r.ToNode, r.ID)
				return exitError(exitWaiting)
			})
		},
	})
}

func (e *env) resendCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "resend ID|FILE", Short: "Submit a message again, as a new one", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeIDs,
		Long: `resend submits what was submitted before once more, as new messages that name the old ones. FILE holds
lines of a messages.log.`,
		Example: "  steward resend last\n  grep CLICommand data/central/messages.log | tail -n 3 > again && steward resend again",
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(c, func(ctx context.Context, cl *api.Client) error {
				records, err := resend(ctx, cl, args[0])
				if err != nil {
					return err
				}
				return printAll(e, records, func() [][]string { return messageRows(records) })
			})
		},
	})
}

func resend(ctx context.Context, cl *api.Client, what string) ([]store.Record, error) {
	if b, err := os.ReadFile(what); err == nil {
		return cl.ResendLog(ctx, b)
	}
	r, err := cl.Resend(ctx, what)
	if errors.Is(err, api.ErrNotFound) {
		err = fmt.Errorf("%w; and there is no such file", err)
	}
	return []store.Record{r}, err
}
