package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisStreams: two streams, each with a consumer group; the answer and the ack
// of its request share a round trip, and the append-only file is synced before
// anything is answered.
func redisStreams(dir string, s shape) (*session, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := startProgram("redis-server", "redis-server", nil, "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &streams{client: redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, PoolSize: s.InFlight + 8, ReadTimeout: time.Minute})}
	x := &session{
		call: func(n int) error {
			return r.calls.call(n, s, func(m []byte) error { return r.client.XAdd(ctx, added("commands", m)).Err() })
		},
		close: func() error {
			cancel()
			r.readers.Wait()
			return errors.Join(r.client.Close(), p.stop())
		},
	}
	err = p.ready(func() error { return r.client.Ping(ctx).Err() })
	for _, stream := range []string{"commands", "results"} {
		if err == nil {
			err = r.client.XGroupCreateMkStream(ctx, stream, "g", "0").Err()
		}
	}
	if err != nil {
		return nil, errors.Join(err, x.close())
	}
	r.readers.Go(func() {
		r.read(ctx, "commands", func(pipe redis.Pipeliner, m []byte) { pipe.XAdd(ctx, added("results", m)) }, func([]byte) {})
	})
	r.readers.Go(func() { r.read(ctx, "results", func(redis.Pipeliner, []byte) {}, r.calls.answered) })
	return x, nil
}

type streams struct {
	client  *redis.Client
	calls   calls
	readers sync.WaitGroup
}

func added(stream string, m []byte) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: stream, Values: []any{"m", m}}
}

// read takes what is new on a stream, does what each asks for, and acks and
// deletes it in the same round trip; then each is told to after.
func (r *streams) read(ctx context.Context, stream string, each func(redis.Pipeliner, []byte), after func([]byte)) {
	for ctx.Err() == nil {
		got, err := r.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{stream, ">"}, Count: 1024, Block: time.Second}).Result()
		if err != nil || len(got) == 0 {
			continue // nothing came, or the end: who waits for an answer has a limit
		}
		pipe := r.client.Pipeline()
		var ids []string
		var bodies [][]byte
		for _, m := range got[0].Messages {
			text, _ := m.Values["m"].(string)
			ids, bodies = append(ids, m.ID), append(bodies, []byte(text))
			each(pipe, []byte(text))
		}
		pipe.XAck(ctx, stream, "g", ids...)
		pipe.XDel(ctx, stream, ids...)
		if _, err := pipe.Exec(ctx); err != nil {
			continue
		}
		for _, b := range bodies {
			after(b)
		}
	}
}
