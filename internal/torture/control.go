package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/steward-bus/steward/internal/crashfs"
)

// keeper is something that takes messages and says that they are durable. It runs as
// a process of its own, on a disk that loses its power.
type keeper struct {
	name    string
	command func(dir, port string) []string
	dial    func(ctx context.Context, dir, port string) (keeping, error) // waits until it answers
}

// keeping is one life of a keeper.
type keeping interface {
	put(ctx context.Context, key string) error // returns when it is said to be durable
	keys(ctx context.Context) (map[string]bool, error)
	Close()
}

// lossy is what losses of power did to a keeper.
type lossy struct {
	keeper, disk string
	cuts, told   int
	lost, cutsOf int // messages, and cuts that lost any
	refused      int // starts after which it did not answer any more; then it had a new disk
}

// Of the control.
const (
	putters     = 8
	putsOfALife = 25 // of each putter, at most
	cutWithin   = 60 // milliseconds from the first of them on
	lifeLimit   = 30 * time.Second
)

// control plays so many losses of power on each keeper and disk: a rig that finds
// nothing anywhere has shown nothing.
func (c *campaign) control(ctx context.Context, cuts int, dir string) error {
	bin := filepath.Join(dir, "steward")
	defer os.Remove(bin)
	if err := build(ctx, bin); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.began = time.Now()
	var list []lossy
	for _, k := range []keeper{stewardKeeper(bin), jetStreamKeeper(exe, jetAlways), jetStreamKeeper(exe, jetShipped)} {
		for _, mode := range powerModes {
			l, err := c.lose(ctx, k, mode, cuts, filepath.Join(dir, "disk"))
			if err != nil {
				return fmt.Errorf("%s on the disk %s: %w", k.name, mode, err)
			}
			fmt.Fprintf(c.out, "%s, disk %s: %d cuts, %d messages said to be durable, %d of them lost by %d cuts, refused to start %d times\n",
				l.keeper, l.disk, l.cuts, l.told, l.lost, l.cutsOf, l.refused)
			list = append(list, l)
		}
	}
	if c.publish == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintln(&b, origin(ctx, fmt.Sprintf("go run ./internal/torture -control %d -seed %d", cuts, c.seed), c.began))
	fmt.Fprint(&b, "| | disk | losses of power | messages said to be durable | of them lost | by so many losses of power | did not start |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, l := range list {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d |\n", l.keeper, l.disk, l.cuts, l.told, l.lost, l.cutsOf, l.refused)
	}
	return publish(c.publish, "control", b.String())
}

// lose takes the power from k again and again, and looks each time what is left of
// what it had said to be durable.
func (c *campaign) lose(ctx context.Context, k keeper, mode crashfs.Mode, cuts int, dir string) (l lossy, err error) {
	l = lossy{keeper: k.name, disk: string(mode)}
	rng := rand.New(rand.NewPCG(c.seed, uint64(len(k.name)+len(mode))))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return l, err
	}
	m := machine{disk: crashfs.New(mode), rng: rng}
	if m.unmount, err = m.disk.Mount(dir); err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	told := map[string]bool{}
	folder := func() (string, error) {
		path := filepath.Join(dir, fmt.Sprint("data", l.refused))
		return path, errors.Join(os.MkdirAll(path, 0o700), syncDir(dir))
	}
	for n := range cuts + 1 { // the last life only looks
		if ctx.Err() != nil {
			return l, ctx.Err()
		}
		path, err := folder()
		if err != nil {
			return l, err
		}
		alive, err := c.live(ctx, k, &m, path, n, n < cuts, told, &l)
		if err != nil {
			return l, err
		}
		if !alive { // all that it had is lost; it goes on with nothing
			l.refused++
			l.lost, l.cutsOf = l.lost+len(told), l.cutsOf+1
			clear(told)
		}
	}
	l.cuts = cuts
	return l, nil
}

// live starts k, compares what it has with what was told, puts more if it is to,
// and takes the power meanwhile.
func (c *campaign) live(ctx context.Context, k keeper, m *machine, dir string, n int, puts bool, told map[string]bool, l *lossy) (alive bool, err error) {
	port, err := freePort(ctx)
	if err != nil {
		return false, err
	}
	args := k.command(dir, port)
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it ends below
	if err := cmd.Start(); err != nil {
		return false, err
	}
	cut := sync.OnceFunc(func() { m.cut(func() { _ = cmd.Process.Kill() }) })
	defer func() {
		cut()
		_ = cmd.Wait() // it was killed
		m.disk.On()
	}()
	life, cancel := context.WithTimeout(ctx, lifeLimit)
	defer cancel()
	x, err := k.dial(life, dir, port)
	if err != nil {
		return false, ctx.Err()
	}
	defer x.Close()
	there, err := x.keys(life)
	if err != nil {
		return false, ctx.Err()
	}
	before := l.lost
	for key := range told {
		if !there[key] {
			l.lost++
			delete(told, key)
		}
	}
	if l.lost > before {
		l.cutsOf++
	}
	if !puts {
		return true, nil
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	soon, end := context.WithCancel(life)
	defer end()
	time.AfterFunc(time.Duration(1+m.rng.IntN(cutWithin))*time.Millisecond, func() { cut(); end() })
	for p := range putters {
		wait.Go(func() {
			for i := range putsOfALife {
				key := fmt.Sprintf("k%d-%d-%d", n, p, i)
				if x.put(soon, key) != nil {
					return // nobody was told anything
				}
				mu.Lock()
				told[key] = true
				l.told++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	cut() // or it is under way
	return true, nil
}
