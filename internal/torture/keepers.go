package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/steward-bus/steward/internal/api"
	"github.com/steward-bus/steward/store"
)

// stewardKeeper accepts messages for a node that is not there.
func stewardKeeper(bin string) keeper {
	return keeper{
		name: "steward",
		command: func(dir, port string) []string {
			return []string{bin, "run", "--node", central, "--data", filepath.Join(dir, "new", "data"), "--listen", "127.0.0.1:" + port}
		},
		dial: func(ctx context.Context, dir, _ string) (keeping, error) {
			for {
				c, err := api.Dial(filepath.Join(dir, "new", "data"))
				if err == nil {
					c.Patience = time.Millisecond
					return stewardLife{c}, nil
				}
				if !sleep(ctx, 20*time.Millisecond) {
					return nil, err
				}
			}
		},
	}
}

type stewardLife struct{ *api.Client }

func (s stewardLife) put(ctx context.Context, key string) error {
	_, err := s.SubmitDocument(ctx, Order{Key: key, To: "nobody", Kind: "EventACK", Method: "TextLogging"}.document("", ""))
	return err
}

func (s stewardLife) keys(ctx context.Context) (map[string]bool, error) {
	list, err := s.Messages(ctx, store.Filter{FromNode: central, Limit: api.MaxLimit})
	there := map[string]bool{}
	for _, m := range list {
		there[m.Labels["key"]] = true
	}
	return there, err
}

// How JetStream syncs.
const (
	jetAlways  = "SyncAlways"
	jetShipped = "as shipped"
)

const jetStreamName = "KEEP"

func jetStreamKeeper(exe, syncs string) keeper {
	return keeper{
		name:    "JetStream " + server.VERSION + ", " + syncs,
		command: func(dir, port string) []string { return []string{exe, "jetstream", dir, port, syncs} },
		dial: func(ctx context.Context, _, port string) (keeping, error) {
			for {
				x, err := dialJetStream(ctx, "nats://127.0.0.1:"+port)
				if err == nil {
					return x, nil
				}
				if !sleep(ctx, 20*time.Millisecond) {
					return nil, err
				}
			}
		},
	}
}

// jetStream is the process: a server with streams in a folder.
func jetStream(args []string) error {
	if len(args) != 3 {
		return errors.New("want: jetstream FOLDER PORT SYNC")
	}
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[0], 0o700); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: args[0], SyncAlways: args[2] == jetAlways, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

type jetStreamLife struct {
	*nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
}

// dialJetStream opens the stream, or makes it where it is not there (any more).
func dialJetStream(ctx context.Context, url string) (jetStreamLife, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(0), nats.Timeout(time.Second))
	if err != nil {
		return jetStreamLife{}, err
	}
	x := jetStreamLife{Conn: nc}
	if x.js, err = jetstream.New(nc); err == nil {
		x.stream, err = x.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: jetStreamName, Subjects: []string{jetStreamName + ".>"}, Storage: jetstream.FileStorage})
	}
	if err != nil {
		nc.Close()
	}
	return x, err
}

func (x jetStreamLife) put(ctx context.Context, key string) error {
	_, err := x.js.Publish(ctx, jetStreamName+"."+key, []byte(key), jetstream.WithRetryAttempts(0))
	return err
}

func (x jetStreamLife) keys(ctx context.Context) (map[string]bool, error) {
	there := map[string]bool{}
	info, err := x.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.State.Msgs == 0 {
		return there, nil
	}
	cons, err := x.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	for uint64(len(there)) < info.State.Msgs {
		batch, err := cons.Fetch(1000, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return nil, err
		}
		n := 0
		for m := range batch.Messages() {
			there[string(m.Data())] = true
			n++
		}
		if batch.Error() != nil || n == 0 {
			return there, fmt.Errorf("of %d messages came %d: %w", info.State.Msgs, len(there), batch.Error())
		}
	}
	return there, nil
}
