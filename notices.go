package steward

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/failpoint"
	"github.com/steward-bus/steward/store"
)

// classes says as what the error kernel hears of an outcome; the others are
// what was asked for.
var classes = map[ack.Outcome]struct {
	class    errorkernel.Class
	severity errorkernel.Severity
}{
	ack.Failed:      {errorkernel.Handler, errorkernel.Warning},
	ack.Timeout:     {errorkernel.Handler, errorkernel.Warning},
	ack.RejectedEnd: {errorkernel.Rejection, errorkernel.Error},
	ack.Expired:     {errorkernel.Expiry, errorkernel.Error},
	ack.Undelivered: {errorkernel.Undelivered, errorkernel.Error},
	ack.Unknown:     {errorkernel.Unknown, errorkernel.Error},
}

// bad reports whether the error kernel has to hear of an outcome.
func bad(o ack.Outcome) bool {
	_, is := classes[o]
	return is
}

// Limits of tellNotices.
const (
	noticesAtOnce = 1000
	mendAgain     = time.Second // while too many records change
)

// tellNotices lets the error kernel hear of outcomes that the journal has notices
// of: those of this life, and those that an earlier one did not come to tell.
func (n *Node) tellNotices(ctx context.Context) error {
	for {
		list, err := n.db.Notices(n.heard, noticesAtOnce)
		if err != nil {
			return fmt.Errorf("read what the error kernel has to hear: %w", err)
		}
		for _, x := range list {
			if err := n.tellNotice(ctx, x); err != nil {
				return err
			}
			n.heard = x.ID
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-n.noticed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) tellNotice(ctx context.Context, x store.Notice) error {
	failpoint.Hit(failpoint.Noticed)
	f := errorkernel.Failure{ID: x.ID.String(), Subject: x.Subject, Message: x.Message.String(), First: x.At, Last: x.At}
	if x.Outcome == "" {
		f.Class, f.Severity, f.Among = errorkernel.Rejection, errorkernel.Warning, []string{x.From}
		f.Cause = fmt.Sprintf("refused a message of %s: %s", x.From, x.Reason)
		n.report(f)
		return nil
	}
	if x.Refined {
		if err := n.refined(ctx, x); err != nil {
			return err
		}
	}
	if c, bad := classes[x.Outcome]; bad {
		f.Class, f.Severity, f.Cause = c.class, c.severity, fmt.Sprintf("%s: %s", x.Outcome, x.Reason)
		record := n.kernel.Report(f)
		if x.Outcome == ack.Unknown {
			n.db.PutUnknown(x.Message, record)
		}
	}
	return nil
}

// refined resolves the failure that told of a message as unknown, whose outcome is
// known now.
func (n *Node) refined(ctx context.Context, x store.Notice) error {
	id, err := n.db.UnknownIn(x.Message)
	if err == nil && id == "" { // it may be about to be kept
		if err = n.db.Accept(ctx, nil, false); err == nil {
			id, err = n.db.UnknownIn(x.Message)
		}
	}
	if err != nil || id == "" {
		return err
	}
	f, _, err := n.failure(id)
	if err != nil {
		return err
	}
	f.ID = id
	for !n.kernel.Mend(f, x.ID.String(), fmt.Sprintf("message %s is known to be %s", x.Message, x.Outcome)) {
		select {
		case <-time.After(mendAgain):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// toldNotices forgets what the error kernel has told.
func (n *Node) toldNotices(last string) {
	failpoint.Hit(failpoint.FailureKept)
	n.db.Told(uuid.MustParse(last))
}
