package message

import (
	"bytes"
	"encoding/json"
	"time"
)

// document is the form in which Document writes; its names are those of fieldNames.
type document struct {
	ToNode         string            `json:"toNode"`
	Data           []string          `json:"data"`
	CommandOrEvent string            `json:"commandOrEvent"`
	Method         string            `json:"method"`
	Timeout        string            `json:"timeout,omitempty"`
	Retries        int               `json:"retries,omitempty"`
	MethodTimeout  string            `json:"methodTimeout,omitempty"`
	Expires        string            `json:"expires,omitempty"`
	OnUnknown      OnUnknown         `json:"onUnknown,omitempty"`
	ReplyTo        string            `json:"replyTo,omitempty"`
	ReplyMethod    string            `json:"replyMethod,omitempty"`
	Directory      string            `json:"directory,omitempty"`
	FileName       string            `json:"fileName,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
}

// Document is the submission, on one line without a newline, that recreates what
// the submitter of m wrote; what the accepting node filled in is not part of it.
// m must be valid.
func Document(m *Message) []byte {
	doc := document{
		ToNode: m.ToNode, Data: m.Data, CommandOrEvent: string(m.Kind), Method: m.Method,
		Timeout: durationText(m.AckTimeout), Retries: m.Retries, MethodTimeout: durationText(m.MethodTimeout),
		OnUnknown: m.OnUnknown, ReplyTo: m.ReplyTo, ReplyMethod: m.ReplyMethod,
		Directory: m.Directory, FileName: m.FileName, Labels: m.Labels,
	}
	if doc.Data == nil {
		doc.Data = []string{}
	}
	if !m.Expires.IsZero() {
		doc.Expires = m.Expires.UTC().Format(time.RFC3339Nano)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the operator reads it
	if err := e.Encode(doc); err != nil {
		panic("message: a struct of strings does not encode: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
