package steward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/store"
)

const (
	diskLook = 15 * time.Second // while nobody asks for room, who would find out
	fullLook = time.Second      // while the disk is full
	noteFull = "disk.full"      // id of the failure that tells of a disk that is full
)

// watchDisk tells the error kernel when the disk becomes full, and when it has room
// again: once each, however much is refused in between.
func (n *Node) watchDisk(ctx context.Context) error {
	v, err := n.db.Note(noteFull)
	if err != nil {
		return fmt.Errorf("read what is known of the disk: %w", err)
	}
	told := string(v) // also by an earlier life
	if _, found, err := n.failure(told); err != nil {
		return err
	} else if !found {
		told = ""
	}
	for {
		d, pause := n.db.Disk(), diskLook
		switch {
		case d.Full != "":
			pause = fullLook
			if told == "" {
				told = n.kernel.Report(errorkernel.Failure{Class: errorkernel.Storage, Severity: errorkernel.Critical, Cause: diskFull(d)})
				n.db.PutNoteSoon(noteFull, []byte(told))
			}
		case told != "" && n.diskMended(told, d):
			told = ""
			n.db.PutNoteSoon(noteFull, nil)
		}
		select {
		case <-time.After(pause):
		case <-n.db.DiskTurned():
		case <-ctx.Done():
			return nil
		}
	}
}

// diskFull says what d is about, and what an operator does.
func diskFull(d store.Disk) string {
	return d.Full + ": new work is refused. Submissions stay in their files, and what other nodes send waits with them. Free some space; nothing that was accepted is lost, and all goes on by itself"
}

// diskMended resolves the failure that told that the disk is full. False: try again.
func (n *Node) diskMended(told string, d store.Disk) bool {
	f, _, err := n.failure(told)
	if err != nil {
		n.log.Warn("the disk has room again, and the failure that told that it had none cannot be read", "failure", told, "err", err)
		return false
	}
	f.ID = told
	return n.kernel.Mend(f, "", fmt.Sprintf("the disk has room again: %s are free", store.Size(d.Free)))
}

// waits reports whether a process waits for room on a disk. That of the journal
// watchDisk tells of; another one is told of here.
func (n *Node) waits(err error) bool {
	if store.NoRoom(err) && !errors.Is(err, store.ErrFull) {
		n.report(errorkernel.Failure{Class: errorkernel.Storage, Severity: errorkernel.Error, Cause: err.Error()})
	}
	return store.NoRoom(err)
}
