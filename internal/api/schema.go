package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
	"github.com/steward-bus/steward/subject"
)

// describe tells the registry what the types of other packages look like in
// JSON, where Go's types do not say it.
func describe(r huma.Registry) {
	for _, a := range []struct{ of, like reflect.Type }{
		{reflect.TypeFor[message.Text](), reflect.TypeFor[textSchema]()},
		{reflect.TypeFor[ack.Outcome](), reflect.TypeFor[outcomeSchema]()},
		{reflect.TypeFor[store.State](), reflect.TypeFor[stateSchema]()},
		{reflect.TypeFor[subject.Kind](), reflect.TypeFor[kindSchema]()},
		{reflect.TypeFor[errorkernel.Class](), reflect.TypeFor[classSchema]()},
		{reflect.TypeFor[errorkernel.Severity](), reflect.TypeFor[severitySchema]()},
		{reflect.TypeFor[errorkernel.Action](), reflect.TypeFor[actionSchema]()},
		{reflect.TypeFor[errorkernel.State](), reflect.TypeFor[processSchema]()},
	} {
		r.RegisterTypeAlias(a.of, a.like)
	}
}

type (
	textSchema     struct{}
	outcomeSchema  struct{}
	stateSchema    struct{}
	kindSchema     struct{}
	classSchema    struct{}
	severitySchema struct{}
	actionSchema   struct{}
	processSchema  struct{}
	durationSchema struct{}
	momentSchema   struct{}
)

// Schema implements huma.SchemaProvider.
func (textSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "Output of a program: a string where it is valid UTF-8, else base64.",
		OneOf: []*huma.Schema{
			{Type: huma.TypeString},
			{
				Type:                 huma.TypeObject,
				Properties:           map[string]*huma.Schema{"base64": {Type: huma.TypeString, ContentEncoding: "base64"}},
				Required:             []string{"base64"},
				AdditionalProperties: false,
			},
		},
	}
}

// Schema implements huma.SchemaProvider.
func (outcomeSchema) Schema(huma.Registry) *huma.Schema { return enum(ack.Outcomes...) }

// Schema implements huma.SchemaProvider.
func (stateSchema) Schema(huma.Registry) *huma.Schema {
	return enum(store.Waiting, store.Cancelling, store.StateTaken, store.Started, store.Ended)
}

// Schema implements huma.SchemaProvider.
func (kindSchema) Schema(huma.Registry) *huma.Schema { return enum(subject.Kinds...) }

// Schema implements huma.SchemaProvider.
func (classSchema) Schema(huma.Registry) *huma.Schema {
	return enum(errorkernel.Submission, errorkernel.Storage, errorkernel.Transport, errorkernel.Process,
		errorkernel.Handler, errorkernel.Rejection, errorkernel.Expiry, errorkernel.Undelivered,
		errorkernel.Unknown, errorkernel.Identity)
}

// Schema implements huma.SchemaProvider.
func (severitySchema) Schema(huma.Registry) *huma.Schema {
	return enum(errorkernel.Warning, errorkernel.Error, errorkernel.Critical)
}

// Schema implements huma.SchemaProvider.
func (actionSchema) Schema(huma.Registry) *huma.Schema {
	return enum(errorkernel.Log, errorkernel.Restart, errorkernel.Terminate)
}

// Schema implements huma.SchemaProvider.
func (processSchema) Schema(huma.Registry) *huma.Schema {
	return enum(errorkernel.Running, errorkernel.Backoff, errorkernel.Terminated)
}

// Schema implements huma.SchemaProvider.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf:    []*huma.Schema{{Type: huma.TypeNumber}, {Type: huma.TypeString}},
		Examples: []any{30, "30s"},
	}
}

// Schema implements huma.SchemaProvider.
func (momentSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf:    []*huma.Schema{{Type: huma.TypeNumber}, {Type: huma.TypeString}},
		Examples: []any{"24h", "2030-01-31T12:00:00Z"},
	}
}

func enum[T ~string](values ...T) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

// submission describes what message.ParseDocuments reads; nothing is decoded into it.
type submission struct {
	_              struct{}          `additionalProperties:"false"`
	ToNode         string            `json:"toNode,omitempty" example:"ship1" doc:"The receiver; this or toNodes"`
	ToNodes        []string          `json:"toNodes,omitempty" doc:"Several receivers: one message for each"`
	Data           []string          `json:"data" nullable:"false" doc:"What the method works on; a command's argv"`
	CommandOrEvent subject.Kind      `json:"commandOrEvent"`
	Method         string            `json:"method" example:"CLICommand"`
	Timeout        durationSchema    `json:"timeout,omitempty" doc:"Wait for one acknowledgement: seconds, or text such as 30s"`
	AckTimeout     durationSchema    `json:"ackTimeout,omitempty" doc:"Another name of timeout"`
	Retries        int               `json:"retries,omitempty" minimum:"0" doc:"Attempts after the first; 0: the node's default"`
	MethodTimeout  durationSchema    `json:"methodTimeout,omitempty" doc:"Bound of the run"`
	Expires        momentSchema      `json:"expires,omitempty" doc:"End of the lifetime: a time, or how long from now"`
	OnUnknown      string            `json:"onUnknown,omitempty" enum:"report,rerun" doc:"What the receiver does with a command that it had started when it died"`
	ReplyTo        string            `json:"replyTo,omitempty" doc:"Node that gets the reply; the sender if empty"`
	ReplyMethod    string            `json:"replyMethod,omitempty"`
	Directory      string            `json:"directory,omitempty" doc:"Relative folder, for methods that write files"`
	FileName       string            `json:"fileName,omitempty" doc:"File, for methods that write files"`
	Labels         map[string]string `json:"labels,omitempty"`
}
