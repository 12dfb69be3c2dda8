package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// apiVersion is of the interface, not of the program.
const apiVersion = "1.0.0"

// routes are the handlers and what they share.
type routes struct {
	bus      Bus
	stopping context.Context // ends the waits of requests, each of which has a context of its own
	log      *slog.Logger
	submits  chan struct{} // a place for each submission in memory
	waits    chan struct{} // a place for each wait
}

// newMux answers all paths, and cuts waits short when stopping ends.
func newMux(stopping context.Context, bus Bus, log *slog.Logger) http.Handler {
	rt := &routes{
		bus: bus, stopping: stopping, log: log,
		submits: make(chan struct{}, maxSubmits),
		waits:   make(chan struct{}, maxWaits),
	}
	mux := http.NewServeMux()
	spec := sync.OnceValues(newAPI(mux, rt).OpenAPI().YAML)
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		b, err := spec()
		if err != nil {
			writeProblem(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/openapi+yaml")
		_, _ = w.Write(b) // the peer may have left; then nobody is there to tell
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("there is no %s %s: see /openapi.yaml", r.Method, r.URL.Path))
	})
	return mux
}

// Spec is the description of the interface, as OpenAPI 3.1 in YAML.
func Spec() ([]byte, error) {
	return newAPI(http.NewServeMux(), &routes{}).OpenAPI().YAML()
}

func newAPI(mux *http.ServeMux, rt *routes) huma.API {
	config := huma.DefaultConfig("steward: the local API of a node", apiVersion)
	config.Info.Description = "Spoken over the unix socket `steward.sock` in a node's data folder, which only the node's user can open. " +
		"Errors are RFC 9457 problems; their `type` tells which, their `detail` and `errors` say what was wrong and what to do."
	config.CreateHooks = nil // no $schema in answers
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.RejectUnknownQueryParameters = true
	config.AllowAdditionalPropertiesByDefault = true // in answers: fields will be added
	describe(config.Components.Schemas)
	api := humago.New(mux, config)
	rt.messages(api)
	rt.node(api)
	return api
}

// add registers an operation. An error of f becomes a problem, and so does a
// panic, which is the request's end and not the node's.
func add[I, O any](rt *routes, api huma.API, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	op.Errors = append(op.Errors, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, op, func(ctx context.Context, in *I) (out *O, err error) {
		defer func() {
			if p := recover(); p != nil {
				rt.log.Error("local API panics", "operation", op.OperationID, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
				out, err = nil, huma.NewError(http.StatusInternalServerError, fmt.Sprintf("the node panics: %v; its log has the stack", p))
			}
		}()
		out, err = f(ctx, in)
		if err != nil {
			return nil, asProblem(err)
		}
		return out, nil
	})
}

// body is an answer that is nothing but its body.
type body[T any] struct{ Body T }

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{v}, nil
}

// some is list, but never null in JSON.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// describeSubmission replaces "bytes" by what they mean. It is done after
// registration, because the bytes are for message.ParseComplete to read.
func describeSubmission(api huma.API) {
	s := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[submission](), true, "")
	content := api.OpenAPI().Paths["/v1/messages"].Post.RequestBody.Content
	clear(content)
	content["application/json"] = &huma.MediaType{Schema: &huma.Schema{
		Description: "A message object, or an array of them. Several documents may follow each other, as in inmsg.txt.",
		OneOf:       []*huma.Schema{s, {Type: huma.TypeArray, Items: s}},
	}}
	content = api.OpenAPI().Paths["/v1/resend"].Post.RequestBody.Content
	clear(content)
	content["application/x-ndjson"] = &huma.MediaType{Schema: &huma.Schema{
		Type: huma.TypeString, Description: "Lines of messages.log: one CloudEvent in structured JSON each.",
	}}
}

// bodyLimit is how long a client may take to send a submission.
const bodyLimit = time.Minute
