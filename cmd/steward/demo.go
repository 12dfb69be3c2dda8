package main

import (
	"context"
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
		Use: "demo", Short: "Two nodes, a command, a cut link: the main job once, for real", Args: noArgs, Example: "  steward demo",
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

	ship    *actor
	central *api.Client
	waiting string // the message that ship1 missed
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
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{d.begin, d.deliver, d.cutOff, d.comeBack} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	d.central.Close()
	d.sayHow()
	return nil
}

func (d *demo) begin(ctx context.Context) (err error) {
	d.say("1. Two nodes, each a process with a journal of its own: central, with an embedded NATS broker")
	d.say("   on %s, and ship1, which joins it.", d.addr)
	if _, err = d.start(ctx, "central", "--listen", d.addr); err != nil {
		return err
	}
	if d.ship, err = d.start(ctx, "ship1", "--broker", "nats://"+d.addr); err != nil {
		return err
	}
	if d.central, err = d.meet(ctx, "central"); err != nil {
		return err
	}
	return d.online(ctx, "ship1")
}

func (d *demo) deliver(ctx context.Context) error {
	d.say("\n2. A message for ship1 is appended to inmsg.txt of central. It runs there, and its output comes back.\n")
	r, err := d.drop(ctx, "echo hello from $(uname -n)")
	if err != nil {
		return err
	}
	return d.outcome(ctx, r.ID)
}

func (d *demo) cutOff(ctx context.Context) error {
	d.say("\n3. ship1 is killed (kill -9), and a message is dropped for it all the same. It waits.\n")
	if err := d.ship.end(syscall.SIGKILL); err != nil {
		return err
	}
	r, err := d.drop(ctx, "echo hello again, a little late")
	if err != nil {
		return err
	}
	if r, err = d.tried(ctx, r.ID); err != nil {
		return err
	}
	d.waiting = r.ID
	d.say("   state    %s", r.State)
	d.say("   because  %s", r.LastError)
	return nil
}

func (d *demo) comeBack(ctx context.Context) error {
	d.say("\n4. ship1 is back, and says hello: the message is delivered at once, and runs once.\n")
	if _, err := d.start(ctx, "ship1", "--broker", "nats://"+d.addr); err != nil {
		return err
	}
	return d.outcome(ctx, d.waiting)
}

// sayHow tells how to repeat it by hand.
func (d *demo) sayHow() {
	central := filepath.Join(d.dir, "central")
	d.say("\nIt worked. The nodes stop here; their folders stay in %s. To go on by hand", d.dir)
	d.say("(steward is bin/steward after make build), in three terminals:\n")
	d.say("  steward run --node central --listen %s --data %s", d.addr, central)
	d.say("  steward run --node ship1 --broker nats://%s --data %s", d.addr, filepath.Join(d.dir, "ship1"))
	d.say("\n  export STEWARD_DATA=%s", central)
	d.say("  echo '%s' >> $STEWARD_DATA/inmsg.txt", document("uname -a"))
	d.say("  steward trace last      # once it is taken, a moment later")
	d.say("  steward messages")
}

func (d *demo) inmsg() string { return filepath.Join(d.dir, "central", "inmsg.txt") }

// start runs a node as a process of its own.
func (d *demo) start(ctx context.Context, name string, args ...string) (_ *actor, err error) {
	log, err := os.OpenFile(filepath.Join(d.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	a := &actor{name: name}
	a.cmd = exec.CommandContext(context.WithoutCancel(ctx), // stop ends it, and gently
		d.bin, append([]string{"run", "--node", name, "--data", filepath.Join(d.dir, name)}, args...)...)
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

func (d *demo) online(ctx context.Context, name string) error {
	return poll(ctx, name+" does not come online", func() (bool, error) {
		list, err := d.central.Nodes(ctx)
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
func (d *demo) drop(ctx context.Context, script string) (r store.Record, err error) {
	before, err := d.central.Messages(ctx, store.Filter{Limit: 1, FromNode: "central"})
	if err != nil {
		return r, err
	}
	doc := document(script)
	f, err := os.OpenFile(d.inmsg(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return r, err
	}
	if _, err = f.WriteString(doc + "\n"); err != nil {
		return r, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return r, err
	}
	d.say("   %s\n", doc)
	err = poll(ctx, "the message is not accepted", func() (bool, error) {
		now, err := d.central.Messages(ctx, store.Filter{Limit: 1, FromNode: "central"})
		if err != nil || len(now) == 0 || len(before) > 0 && now[0].ID == before[0].ID {
			return false, err
		}
		r = now[0]
		return true, nil
	})
	return r, err
}

// document is a message in the oldest form, which is still the simplest.
func document(script string) string {
	return fmt.Sprintf(`[{"toNode":"ship1","data":["sh","-c",%q],"commandOrEvent":"CommandACK","method":"CLICommand"}]`, script)
}

// tried waits until a delivery was tried.
func (d *demo) tried(ctx context.Context, id string) (r store.Record, err error) {
	err = poll(ctx, "no attempt was made", func() (bool, error) {
		r, err = d.central.Message(ctx, id)
		return err == nil && r.State == store.Waiting && r.LastError != "", err
	})
	return r, err
}

// outcome waits for it, and shows how the message got there.
func (d *demo) outcome(ctx context.Context, id string) error {
	r, err := d.central.Wait(ctx, id)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	if r.Outcome != ack.Done {
		return fmt.Errorf("%s ended as %s: %s", id, r.Outcome, r.Reason)
	}
	rows := [][]string{{"   id", r.ID}}
	for _, s := range timeline(r) {
		rows = append(rows, []string{"   " + s.Step, s.Since, s.Note})
	}
	if r.Result != nil {
		rows = append(rows, []string{"   output", strings.TrimSpace(string(r.Result.Stdout))})
	}
	return d.table(rows)
}
