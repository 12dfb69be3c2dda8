package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// fdatasync is the disk's floor: the bytes appended to a file, and synced.
func fdatasync(dir string, s shape) (*session, error) {
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	value := make([]byte, s.Bytes)
	return &session{
		call: func(int) error {
			if _, err := f.Write(value); err != nil {
				return err
			}
			return syscall.Fdatasync(int(f.Fd()))
		},
		close: f.Close,
	}, nil
}

// boltUpdate is one transaction for each call.
func boltUpdate(dir string, s shape) (*session, error) {
	db, err := bolt.Open(filepath.Join(dir, "b.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	value := make([]byte, s.Bytes)
	return &session{
		call:  func(n int) error { return db.Update(func(tx *bolt.Tx) error { return put(tx, n, value) }) },
		close: db.Close,
	}, nil
}

func put(tx *bolt.Tx, n int, value []byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte("b"))
	if err != nil {
		return err
	}
	return b.Put(fmt.Appendf(nil, "%020d", n), value)
}

// boltGroup is the ceiling of whatever keeps its messages in one bbolt file: all
// calls that wait go into the next transaction.
func boltGroup(dir string, s shape) (*session, error) {
	db, err := bolt.Open(filepath.Join(dir, "b.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	type wish struct {
		n    int
		done chan error
	}
	queue := make(chan wish, s.InFlight)
	ended := make(chan struct{})
	value := bytes.Repeat([]byte("x"), s.Bytes)
	go func() {
		defer close(ended)
		for first := range queue {
			group := []wish{first}
			for range len(queue) {
				group = append(group, <-queue)
			}
			err := db.Update(func(tx *bolt.Tx) (err error) {
				for _, w := range group {
					err = errors.Join(err, put(tx, w.n, value))
				}
				return err
			})
			for _, w := range group {
				w.done <- err
			}
		}
	}()
	return &session{
		call: func(n int) error {
			w := wish{n, make(chan error, 1)}
			queue <- w
			return <-w.done
		},
		close: func() error {
			close(queue)
			<-ended
			return db.Close()
		},
	}, nil
}
