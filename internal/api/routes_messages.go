package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

type messageList struct {
	Messages []store.Record `json:"messages" nullable:"false"`
}

type idInput struct {
	ID string `path:"id" doc:"The id, a unique beginning or end of it of at least 8 characters, or \"last\""`
}

func (rt *routes) messages(api huma.API) {
	add(rt, api, huma.Operation{
		OperationID: "submit", Method: http.MethodPost, Path: "/v1/messages",
		Summary: "Submit messages",
		Description: "Takes what inmsg.txt takes, all of it or, if anything is wrong, nothing. " +
			"Once it is answered, every message is durable and will get its outcome.",
		DefaultStatus: http.StatusCreated,
		MaxBodyBytes:  MaxDocument, BodyReadTimeout: bodyLimit,
		Middlewares: huma.Middlewares{rt.oneOfFew},
		Errors:      []int{http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage},
	}, rt.submit)
	add(rt, api, huma.Operation{
		OperationID: "messages", Method: http.MethodGet, Path: "/v1/messages",
		Summary: "List messages, newest first",
	}, rt.list)
	add(rt, api, huma.Operation{
		OperationID: "message", Method: http.MethodGet, Path: "/v1/messages/{id}",
		Summary: "Show a message, where it stands and what came back",
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *idInput) (*body[store.Record], error) {
		return answer(rt.bus.Message(ctx, in.ID))
	})
	add(rt, api, huma.Operation{
		OperationID: "wait", Method: http.MethodGet, Path: "/v1/messages/{id}/wait",
		Summary:     "Wait for a message's outcome",
		Description: "Answers when the message has ended or the time is up, with the message as it is then: look at its state.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict},
	}, rt.wait)
	add(rt, api, huma.Operation{
		OperationID: "cancel", Method: http.MethodPost, Path: "/v1/messages/{id}/cancel",
		Summary:     "Withdraw a message",
		Description: "A message that may have been sent is only cancelling until its receiver has said whether it came in time.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *idInput) (*body[store.Record], error) {
		return answer(rt.bus.Cancel(ctx, in.ID))
	})
	add(rt, api, huma.Operation{
		OperationID: "resend", Method: http.MethodPost, Path: "/v1/messages/{id}/resend",
		Summary:       "Submit a message again, as a new one that names the old",
		DefaultStatus: http.StatusCreated,
		Errors:        []int{http.StatusNotFound, http.StatusConflict, http.StatusInsufficientStorage},
	}, func(ctx context.Context, in *idInput) (*body[store.Record], error) {
		return answer(rt.bus.Resend(ctx, in.ID))
	})
	add(rt, api, huma.Operation{
		OperationID: "resendLog", Method: http.MethodPost, Path: "/v1/resend",
		Summary:       "Submit messages of a message log again, as new ones that name the old",
		Description:   "Takes lines of messages.log, all of them or, if anything is wrong, none. The road's own messages (results, failures, hellos) are left out, and what stands there twice is taken once.",
		DefaultStatus: http.StatusCreated,
		MaxBodyBytes:  MaxDocument, BodyReadTimeout: bodyLimit,
		Middlewares: huma.Middlewares{rt.oneOfFew},
		Errors:      []int{http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage},
	}, func(ctx context.Context, in *submitInput) (*body[messageList], error) {
		ms, err := parseLog(in.RawBody, time.Now())
		return rt.accept(ctx, in, ms, err)
	})
	describeSubmission(api)
}

// oneOfFew bounds the memory of submissions: the next waits until one is through.
func (rt *routes) oneOfFew(ctx huma.Context, next func(huma.Context)) {
	select {
	case rt.submits <- struct{}{}:
		defer func() { <-rt.submits }()
		next(ctx)
	case <-ctx.Context().Done():
	}
}

type submitInput struct {
	Key     string `header:"Idempotency-Key" doc:"A UUID of version 7, made for this submission: with it, it may be repeated for an hour until it is answered, and is accepted once. A repeat gets the messages of the first."`
	RawBody []byte
}

func (rt *routes) submit(ctx context.Context, in *submitInput) (*body[messageList], error) {
	ms, err := parse(in.RawBody, time.Now())
	return rt.accept(ctx, in, ms, err)
}

// accept submits what was read from in, and answers with the receipts.
func (rt *routes) accept(ctx context.Context, in *submitInput, ms []*message.Message, err error) (*body[messageList], error) {
	if err != nil {
		return nil, err
	}
	var earlier []store.Record
	if in.Key == "" {
		err = rt.bus.Submit(ctx, ms...)
	} else {
		s := store.Submission{Sum: sha256.Sum256(in.RawBody)}
		if s.Key, err = uuid.Parse(in.Key); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, fmt.Sprintf("Idempotency-Key is %q: want a UUID of version 7", in.Key))
		}
		earlier, err = rt.bus.SubmitOnce(ctx, s, ms...)
	}
	if err != nil || earlier != nil {
		return answer(messageList{earlier}, err)
	}
	list := make([]store.Record, len(ms))
	for i, m := range ms {
		list[i] = accepted(m)
	}
	return answer(messageList{list}, nil)
}

// parse reads a submission, or tells all that is wrong with it.
func parse(b []byte, now time.Time) ([]*message.Message, error) {
	const told = 100
	var ms []*message.Message
	var wrong []error
	more := 0
	docs := message.Documents{Source: bytes.NewReader(b), Size: int64(len(b)), Now: now, Final: true}
	for e, ok := docs.Next(); ok; e, ok = docs.Next() {
		switch {
		case e.Err == nil:
			ms = append(ms, e.Message)
		case len(wrong) < told:
			wrong = append(wrong, &huma.ErrorDetail{Message: strings.TrimPrefix(e.Err.Error(), message.ErrInvalid.Error()+": ")})
		default:
			more++
		}
		if len(ms) > MaxMessages {
			return nil, problem(http.StatusRequestEntityTooLarge,
				fmt.Sprintf("the submission holds more than %d messages: nothing of it was accepted: split it, or append it to inmsg.txt", MaxMessages))
		}
	}
	if more > 0 {
		wrong = append(wrong, &huma.ErrorDetail{Message: fmt.Sprintf("and %d more", more)})
	}
	switch {
	case len(wrong) > 0:
		return nil, problem(http.StatusUnprocessableEntity, "nothing of the submission was accepted", wrong...)
	case len(ms) == 0:
		return nil, problem(http.StatusUnprocessableEntity, "the submission holds no message")
	}
	return ms, nil
}

func problem(status int, detail string, errs ...error) error {
	p := &huma.ErrorModel{Type: "urn:steward:invalid", Title: http.StatusText(status), Status: status, Detail: detail}
	for _, err := range errs {
		p.Add(err)
	}
	return p
}

// accepted is the record of m at the moment of its acceptance.
func accepted(m *message.Message) store.Record {
	r := store.Record{
		ID: m.ID.String(), FromNode: m.FromNode, ToNode: m.ToNode, Kind: m.Kind, Method: m.Method,
		Data: m.Data, Labels: m.Labels, Seq: m.Place.Seq, Epoch: m.Place.Epoch.String(),
		State: store.Waiting, AcceptedAt: m.Time, ExpiresAt: m.Expires,
	}
	if m.CausationID != uuid.Nil {
		r.CausationID = m.CausationID.String()
	}
	if r.ExpiresAt.IsZero() {
		r.ExpiresAt = m.Time.Add(message.DefaultLife)
	}
	return r
}

type listInput struct {
	ToNode   string      `query:"toNode"`
	FromNode string      `query:"fromNode"`
	Method   string      `query:"method"`
	State    store.State `query:"state"`
	Outcome  ack.Outcome `query:"outcome"`
	Labels   []string    `query:"label,explode" example:"site=oslo" doc:"key=value; all of several must fit"`
	Since    time.Time   `query:"since" doc:"Accepted at or after"`
	Limit    int         `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many; 0: 100"`
	Results  bool        `query:"results" doc:"Also the Result messages of the road itself"`
}

func (rt *routes) list(ctx context.Context, in *listInput) (*body[messageList], error) {
	f := store.Filter{
		ToNode: in.ToNode, FromNode: in.FromNode, Method: in.Method, State: in.State,
		Outcome: in.Outcome, Since: in.Since, Limit: in.Limit, Results: in.Results,
	}
	for _, l := range in.Labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("label is %q: want key=value", l))
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[k] = v
	}
	records, err := rt.bus.Messages(ctx, f)
	return answer(messageList{some(records)}, err)
}

type waitInput struct {
	ID      string `path:"id" doc:"The id, a unique beginning or end of it of at least 8 characters, or \"last\""`
	Timeout string `query:"timeout" default:"30s" example:"1m30s" doc:"How long, up to 5m"`
}

func (rt *routes) wait(ctx context.Context, in *waitInput) (*body[store.Record], error) {
	limit, err := time.ParseDuration(in.Timeout)
	if err != nil || limit < 0 || limit > MaxWait {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("timeout is %q: want 0s to %s", in.Timeout, MaxWait))
	}
	select {
	case rt.waits <- struct{}{}:
		defer func() { <-rt.waits }()
	default:
		return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("%d requests are waiting already: try again", maxWaits))
	}
	// Where id is "last" another message may be it when the time is up.
	r, err := rt.bus.Message(ctx, in.ID)
	if err != nil || r.State == store.Ended {
		return answer(r, err)
	}
	poll, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(rt.stopping, cancel)()
	last, err := rt.bus.Wait(poll, r.ID)
	switch {
	case err == nil:
		return answer(last, nil)
	case errors.Is(poll.Err(), context.DeadlineExceeded) && ctx.Err() == nil:
		return answer(rt.bus.Message(ctx, r.ID))
	case poll.Err() != nil:
		return nil, fmt.Errorf("wait for %s: %w; the message is not affected", r.ID, ErrStopping)
	}
	return nil, err
}
