package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

const demoLimit = time.Minute

func (e *env) demoCmd() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Two nodes, a command, a cut link: the main job once, for real", Args: cobra.NoArgs, Example: "  steward demo",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), demoLimit)
			defer cancel()
			dir, err := os.MkdirTemp("", "steward-demo-")
			if err != nil {
				return err
			}
			d := &demo{env: e, dir: dir}
			err = d.play(ctx)
			if stopErr := d.stop(); err == nil {
				err = stopErr
			}
			if err != nil {
				return fmt.Errorf("demo: %w; the logs are in %s", err, dir)
			}
			return nil
		},
	}
}

// demo is a play in which two steward processes act.
type demo struct {
	*env
	dir    string
	bin    string
	addr   string
	actors []*actor
}

type actor struct {
	name string
	cmd  *exec.Cmd
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }

func (d *demo) play(ctx context.Context) (err error) {
	if d.bin, err = os.Executable(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	d.say("1. central starts, with an embedded broker on %s, and ship1 joins it", d.addr)
	if _, err := d.start("central", "--listen", d.addr); err != nil {
		return err
	}
	ship, err := d.start("ship1", "--broker", "nats://"+d.addr)
	if err != nil {
		return err
	}
	central, err := d.meet(ctx, "central")
	if err != nil {
		return err
	}
	defer central.Close()
	if err := d.online(ctx, central, "ship1"); err != nil {
		return err
	}
	d.say("2. a file is dropped into %s", d.inmsg())
	r, err := d.drop(ctx, central, "echo hello from $(uname -n), the time is $(date +%T)")
	if err != nil {
		return err
	}
	if err := d.outcome(ctx, central, r.ID); err != nil {
		return err
	}
	d.say("3. ship1 is cut off, and a message is dropped for it")
	if err := ship.end(syscall.SIGKILL); err != nil {
		return err
	}
	if r, err = d.drop(ctx, central, "echo hello again, a little late"); err != nil {
		return err
	}
	if r, err = d.tried(ctx, central, r.ID); err != nil {
		return err
	}
	d.say("   %s is %s: %s", r.ID, r.State, r.LastError)
	d.say("4. ship1 is back")
	if _, err := d.start("ship1", "--broker", "nats://"+d.addr); err != nil {
		return err
	}
	if err := d.outcome(ctx, central, r.ID); err != nil {
		return err
	}
	d.say("\nAll of it is in %s. By hand:\n", d.dir)
	d.say("  steward run --node central --listen %s --data %s", d.addr, filepath.Join(d.dir, "central"))
	d.say("  steward run --node ship1 --broker nats://%s --data %s", d.addr, filepath.Join(d.dir, "ship1"))
	d.say("  cat examples/messages/toShip1-CLICommand.json >> %s", d.inmsg())
	d.say("  steward trace last --data %s", filepath.Join(d.dir, "central"))
	return nil
}

func (d *demo) inmsg() string { return filepath.Join(d.dir, "central", "inmsg.txt") }

// start runs a node as a process of its own.
func (d *demo) start(name string, args ...string) (*actor, error) {
	log, err := os.OpenFile(filepath.Join(d.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	a := &actor{name: name, cmd: exec.Command(d.bin, append([]string{"run", "--node", name, "--data", filepath.Join(d.dir, name)}, args...)...)}
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us, and we end them
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "STEWARD_") {
			a.cmd.Env = append(a.cmd.Env, kv)
		}
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	d.actors = append(d.actors, a)
	return a, nil
}

// end signals the process and waits for its end.
func (a *actor) end(sig syscall.Signal) error {
	if a.cmd.ProcessState != nil {
		return nil
	}
	if err := a.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("stop %s: %w", a.name, err)
	}
	err := a.cmd.Wait()
	if sig == syscall.SIGKILL {
		return nil // it had no chance to end well
	}
	return err
}

func (d *demo) stop() error {
	var errs []error
	for _, a := range d.actors {
		if err := a.end(syscall.SIGTERM); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	return errors.Join(errs...)
}

// poll asks until f is content, or ctx ends.
func poll(ctx context.Context, what string, f func() (bool, error)) error {
	for {
		ok, err := f()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *demo) meet(ctx context.Context, name string) (c *api.Client, err error) {
	err = poll(ctx, name+" does not answer", func() (bool, error) {
		if c, err = api.Dial(filepath.Join(d.dir, name)); err != nil {
			return false, err
		}
		if _, err = c.Status(ctx); err != nil {
			c.Close()
		}
		return err == nil, err
	})
	return c, err
}

func (d *demo) online(ctx context.Context, c *api.Client, name string) error {
	return poll(ctx, name+" does not come online", func() (bool, error) {
		list, err := c.Nodes(ctx)
		for _, p := range list {
			if p.Name == name && p.Online {
				return true, nil
			}
		}
		return false, err
	})
}

// drop appends a command to inmsg.txt, and returns what became of it: the newest
// message that was not there before.
func (d *demo) drop(ctx context.Context, c *api.Client, script string) (r store.Record, err error) {
	before, err := c.Messages(ctx, store.Filter{Limit: 1, FromNode: "central"})
	if err != nil {
		return r, err
	}
	doc, err := json.Marshal([]draftOld{{"ship1", []string{"sh", "-c", script}, "CommandACK", "CLICommand", 2}})
	if err != nil {
		return r, err
	}
	f, err := os.OpenFile(d.inmsg(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return r, err
	}
	if _, err = f.Write(append(doc, '\n')); err != nil {
		return r, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return r, err
	}
	d.say("   %s", doc)
	err = poll(ctx, "the message is not accepted", func() (bool, error) {
		now, err := c.Messages(ctx, store.Filter{Limit: 1, FromNode: "central"})
		if err != nil || len(now) == 0 || len(before) > 0 && now[0].ID == before[0].ID {
			return false, err
		}
		r = now[0]
		return true, nil
	})
	return r, err
}

// draftOld is a message in the oldest form, which is still the simplest.
type draftOld struct {
	ToNode         string   `json:"toNode"`
	Data           []string `json:"data"`
	CommandOrEvent string   `json:"commandOrEvent"`
	Method         string   `json:"method"`
	Timeout        int      `json:"timeout"`
}

// tried waits until a delivery was tried.
func (d *demo) tried(ctx context.Context, c *api.Client, id string) (r store.Record, err error) {
	err = poll(ctx, "no attempt was made", func() (bool, error) {
		r, err = c.Message(ctx, id)
		return err == nil && r.State == store.Waiting && r.LastError != "", err
	})
	return r, err
}

func (d *demo) outcome(ctx context.Context, c *api.Client, id string) error {
	r, err := c.Wait(ctx, id)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	code := "none"
	if r.Result != nil && r.Result.ExitCode != nil {
		code = fmt.Sprint(*r.Result.ExitCode)
	}
	d.say("   %s is %s after %s, exit code %s:", r.ID, r.Outcome, r.EndedAt.Sub(r.AcceptedAt).Round(time.Millisecond), code)
	if r.Result != nil {
		d.say("   > %s", strings.TrimSpace(string(r.Result.Stdout)))
	}
	if r.Outcome != ack.Done {
		return fmt.Errorf("%s ended as %s: %s", id, r.Outcome, r.Reason)
	}
	return nil
}
