package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

const (
	idleSubjects = 1000
	rowIdle      = "heap for each idle subject"
	methodHeap   = "Heap" // the receiver says what heap it uses, in KB
)

var heapMethod = process.Method{
	Name: methodHeap, Kinds: []subject.Kind{subject.CommandACK}, Repeatable: true, Instant: true,
	Handler: process.HandlerFunc(func(context.Context, *message.Message) message.Result {
		return message.Result{Outcome: ack.Done, Stdout: strconv.AppendFloat(nil, heapInUse(), 'f', 3, 64)}
	}),
}

// idle is the heap that a subject costs at both ends once a message went over it
// and nothing more comes; the receiver is a process of its own.
func idle(dir string) (list []figure, err error) {
	b, err := startRole("broker")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	r, err := startRole("receiver", dir, b.said, strconv.Itoa(idleSubjects+1))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	central, stop, err := runNode("central", filepath.Join(dir, "idle"), b.said, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var used [2][2]float64 // at first and in the end; here and there
	for i := range used {
		if used[i][1], err = heapThere(ctx, central); err != nil {
			return nil, err
		}
		used[i][0] = heapInUse()
		for s := 1; i == 0 && s <= idleSubjects; s++ {
			m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: methodOf(s), Data: []string{"x"}}
			if _, err := central.Do(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	for i, end := range []string{"sender", "receiver"} {
		list = append(list, single(fmt.Sprintf("%s, %s", rowIdle, end), (used[1][i]-used[0][i])/idleSubjects, "KB"))
	}
	return list, nil
}

func heapThere(ctx context.Context, central *steward.Node) (float64, error) {
	r, err := central.Do(ctx, &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: methodHeap, Data: []string{"x"}})
	if err != nil {
		return 0, err
	}
	if r.Result == nil {
		return 0, fmt.Errorf("ship1 did not say what heap it uses: %s", r.Outcome)
	}
	return strconv.ParseFloat(string(r.Result.Stdout), 64)
}
