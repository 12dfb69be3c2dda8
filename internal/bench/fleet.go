package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/fleet"
	"github.com/steward-bus/steward/internal/transport"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// fleetOf is the role: so many ships on one connection, their journals in
// memory, for each would have a disk of its own.
func fleetOf(args []string, say func(string)) (stop func() error, err error) {
	first, err1 := strconv.Atoi(args[2])
	count, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/dev/shm", "bench-fleet-")
	if err != nil {
		dir = args[0]
	}
	online := make(chan struct{})
	conn, err := transport.Dial(transport.Config{URLs: args[1], Name: "fleet", Changed: func(on bool, _ error) {
		if on {
			close(online) // it is not lost within a run
		}
	}})
	if err != nil {
		return nil, err
	}
	var ships []*fleet.Ship
	stop = func() (err error) {
		var wait sync.WaitGroup
		ends := make([]error, len(ships))
		for i, s := range ships {
			wait.Go(func() { ends[i] = s.Close() })
		}
		wait.Wait()
		conn.Close()
		return errors.Join(errors.Join(ends...), os.RemoveAll(dir))
	}
	<-online
	for i := range count {
		s, err := fleet.Start(shipName(first+i), dir, conn, echoAs("Echo"), func(err error) { fmt.Fprintln(os.Stderr, "bench: fleet:", err) })
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		ships = append(ships, s)
	}
	soon, enough := context.WithTimeout(context.Background(), 10*time.Second)
	defer enough()
	if err := conn.Flush(soon); err != nil {
		return nil, errors.Join(err, stop())
	}
	say("ready")
	return stop, nil
}

const fleetSize = 2500 // of one process: a journal is two open files

func shipName(i int) string { return fmt.Sprintf("ship%d", i) }

// fanOut sends one command to so many ships at once; it returns when the first,
// the middle and the last result was durable at the sender, and what memory each
// ship costs on both sides.
func fanOut(dir string, count int) (f fanned, err error) {
	b, err := startRole("broker")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	var fleets []*role
	defer func() {
		for _, r := range fleets {
			err = errors.Join(err, r.stop())
		}
	}()
	for first := 0; first < count; first += fleetSize {
		r, err := startRole("fleet", dir, b.said, strconv.Itoa(first), strconv.Itoa(min(fleetSize, count-first)))
		if err != nil {
			return f, err
		}
		fleets = append(fleets, r)
	}
	central, stop, err := runNode("central", dir, b.said, 0)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	before := heapInUse()
	list := make([]*message.Message, count)
	for i := range list {
		list[i] = &message.Message{ToNode: shipName(i), Kind: subject.CommandACK, Method: "Echo", Data: []string{"x"}}
	}
	began := time.Now()
	if err := central.Submit(ctx, list...); err != nil {
		return f, err
	}
	took := make([]float64, count)
	err = clients(count, func(i int) (bool, error) {
		r, err := central.Wait(ctx, list[i].ID.String())
		took[i] = float64(time.Since(began)) / float64(time.Millisecond)
		if err == nil && r.Outcome != ack.Done {
			err = fmt.Errorf("%s is %s: %s", r.ID, r.Outcome, r.Reason)
		}
		return false, err
	})
	if err != nil {
		return f, err
	}
	f.took, f.here = took, (heapInUse()-before)/float64(count)
	for _, r := range fleets {
		mb, err := memoryOf(r.cmd.Process.Pid, "RssAnon")
		if err != nil {
			return f, err
		}
		f.there += mb * 1000 / float64(count)
	}
	return f, nil
}
