package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/steward-bus/steward/message"
)

// Problem is a request that the node refused, in the node's words (RFC 9457).
// It wraps the error of this package, or message.ErrInvalid, that it stands for.
type Problem struct {
	Type   string          `json:"type,omitempty"`
	Title  string          `json:"title,omitempty"`
	Status int             `json:"status"` // of HTTP
	Detail string          `json:"detail,omitempty"`
	Errors []ProblemDetail `json:"errors,omitempty"`
}

// ProblemDetail is one of several things that are wrong.
type ProblemDetail struct {
	Message  string `json:"message,omitempty"`
	Location string `json:"location,omitempty"` // such as query.limit
	Value    any    `json:"value,omitempty"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	for _, e := range p.Errors {
		b.WriteString("\n  ")
		b.WriteString(e.Message)
		if e.Location != "" {
			fmt.Fprintf(&b, " (%s: %v)", e.Location, e.Value)
		}
	}
	return b.String()
}

// Unwrap is the error that the problem's type names, or nil.
func (p *Problem) Unwrap() error {
	for _, k := range problemKinds() {
		if p.Type == k.urn {
			return k.err
		}
	}
	return nil
}

type problemKind struct {
	err    error
	urn    string
	status int
}

// problemKinds maps errors to the wire and back.
func problemKinds() []problemKind {
	return []problemKind{
		{ErrNotFound, "urn:steward:not-found", http.StatusNotFound},
		{ErrAmbiguous, "urn:steward:ambiguous", http.StatusConflict},
		{ErrTooLate, "urn:steward:too-late", http.StatusConflict},
		{ErrConflict, "urn:steward:conflict", http.StatusConflict},
		{message.ErrInvalid, "urn:steward:invalid", http.StatusUnprocessableEntity},
		{ErrFull, "urn:steward:full", http.StatusInsufficientStorage},
		{ErrStopping, "urn:steward:stopping", http.StatusServiceUnavailable},
	}
}

// asProblem puts err into the form in which huma answers it.
func asProblem(err error) error {
	if _, ok := errors.AsType[huma.StatusError](err); ok {
		return err
	}
	for _, k := range problemKinds() {
		if errors.Is(err, k.err) {
			return &huma.ErrorModel{Type: k.urn, Title: http.StatusText(k.status), Status: k.status, Detail: err.Error()}
		}
	}
	status := http.StatusInternalServerError
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	return &huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: err.Error()}
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The peer may have left; then nobody is there to tell.
	_ = json.NewEncoder(w).Encode(&huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
}

// readProblem takes what the node answered, in whatever form.
func readProblem(resp *http.Response) *Problem {
	p := &Problem{}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || json.Unmarshal(b, p) != nil || p.Detail == "" {
		p = &Problem{Detail: fmt.Sprintf("the node answered %s: %.200s", resp.Status, b)}
	}
	p.Status = resp.StatusCode
	return p
}
