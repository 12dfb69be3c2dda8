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
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

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
	draft := *d
	for _, s := range []*string{&draft.AckTimeout, &draft.MethodTimeout, &draft.Expires} {
		*s = seconds(*s)
	}
	return json.Marshal(draft)
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
				records, err := e.submit(ctx, cl, doc, timeout)
				if err != nil {
					return d.plain(err)
				}
				if wait {
					if records, err = e.await(ctx, cl, records, timeout); err != nil {
						return err
					}
				}
				if wait {
					return e.printEnded(records)
				}
				return printAll(e, records, func() [][]string { return messageRows(records) })
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
	durationVar(f, &timeout, "timeout", "wait for that `DURATION` at most; the message goes on")
	d.limits(c)
	e.completeFlags(c)
	return e.outputFlag(c)
}

// submit has the local node accept doc, within timeout if that is not 0.
func (e *env) submit(ctx context.Context, cl *api.Client, doc []byte, timeout time.Duration) ([]store.Record, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return cl.SubmitDocument(ctx, doc)
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
