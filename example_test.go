package steward_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// A program that embeds two nodes, one of which has a method of its own.
func Example() {
	if err := pumps(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// done: pump 2 runs
	// failed: there is no pump 7
	// rejected: data has 0 strings: want the name of one pump
}

func pumps() (err error) {
	// A broker within the program; Config.Listen embeds one for other programs,
	// Config.Brokers joins one.
	broker, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true})
	if err != nil {
		return err
	}
	go broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	dir, err := os.MkdirTemp("", "steward")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	node := func(name string) (*steward.Node, error) {
		return steward.New(steward.Config{
			Name: name, Dir: dir + "/" + name, Central: "central", Headless: true, Options: []nats.Option{nats.InProcessServer(broker)},
		})
	}
	central, err := node("central")
	if err != nil {
		return err
	}
	ship, err := node("ship1")
	if err != nil {
		return errors.Join(err, central.Close())
	}
	err = ship.Handle(process.Method{
		Name:  "Pump",
		Kinds: []subject.Kind{subject.CommandACK},
		Check: func(m *message.Message) error { // what can never succeed is rejected
			if len(m.Data) != 1 {
				return fmt.Errorf("data has %d strings: want the name of one pump", len(m.Data))
			}
			return nil
		},
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			if m.Data[0] != "2" {
				return message.Result{Outcome: ack.Failed, Error: "there is no pump " + m.Data[0]}
			}
			return message.Result{Outcome: ack.Done, Stdout: message.Text("pump 2 runs")}
		}),
	})
	if err != nil {
		return errors.Join(err, central.Close(), ship.Close())
	}

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	for _, n := range []*steward.Node{central, ship} {
		go func() { ended <- n.Run(ctx) }()
	}
	for _, data := range [][]string{{"2"}, {"7"}, {}} {
		m := &message.Message{ToNode: "ship1", Kind: subject.CommandACK, Method: "Pump", Data: data}
		r, err := central.Do(ctx, m) // Submit does not wait
		if err != nil {
			log.Print(err)
			break
		}
		told := r.Reason
		if r.Outcome == ack.Done {
			told = string(r.Result.Stdout)
		}
		fmt.Printf("%s: %s\n", r.Outcome, told)
	}
	stop()
	return errors.Join(<-ended, <-ended)
}
