package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/store"
)

type nodeList struct {
	Nodes []store.Peer `json:"nodes" nullable:"false"`
}

type processList struct {
	Processes []errorkernel.ProcessStatus `json:"processes" nullable:"false"`
}

type failureList struct {
	Failures []errorkernel.Failure `json:"failures" nullable:"false"`
}

func (rt *routes) node(api huma.API) {
	add(rt, api, huma.Operation{
		OperationID: "nodes", Method: http.MethodGet, Path: "/v1/nodes",
		Summary: "List the nodes that this one has heard of, and itself",
	}, func(ctx context.Context, _ *struct{}) (*body[nodeList], error) {
		nodes, err := rt.bus.Nodes(ctx)
		return answer(nodeList{some(nodes)}, err)
	})
	add(rt, api, huma.Operation{
		OperationID: "processes", Method: http.MethodGet, Path: "/v1/processes",
		Summary: "List the node's processes",
	}, func(context.Context, *struct{}) (*body[processList], error) {
		return answer(processList{some(rt.bus.Processes())}, nil)
	})
	add(rt, api, huma.Operation{
		OperationID: "restartProcess", Method: http.MethodPost, Path: "/v1/processes/{name}/restart",
		Summary: "Start a process that was terminated",
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
	}, func(_ context.Context, in *struct {
		Name string `path:"name"`
	}) (*struct{}, error) {
		return nil, rt.bus.RestartProcess(in.Name)
	})
	add(rt, api, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/v1/status",
		Summary: "The node at a glance",
	}, func(ctx context.Context, _ *struct{}) (*body[Status], error) {
		return answer(rt.bus.Status(ctx))
	})
	rt.failures(api)
}

type failuresInput struct {
	Class      errorkernel.Class    `query:"class"`
	Severity   errorkernel.Severity `query:"severity"`
	Node       string               `query:"node"`
	Since      time.Time            `query:"since" doc:"Last seen at or after"`
	Unresolved bool                 `query:"unresolved" doc:"Only those that nobody resolved"`
	Limit      int                  `query:"limit" minimum:"0" maximum:"10000" doc:"At most so many; 0: 100"`
}

func (rt *routes) failures(api huma.API) {
	add(rt, api, huma.Operation{
		OperationID: "failures", Method: http.MethodGet, Path: "/v1/errors",
		Summary: "List failures, newest first",
	}, func(ctx context.Context, in *failuresInput) (*body[failureList], error) {
		failures, err := rt.bus.Failures(ctx, FailureFilter(*in))
		return answer(failureList{some(failures)}, err)
	})
	add(rt, api, huma.Operation{
		OperationID: "resolveFailure", Method: http.MethodPost, Path: "/v1/errors/{id}/resolve",
		Summary: "Mark a failure as seen to",
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *struct {
		ID string `path:"id" doc:"The failure's id, or \"all\""`
	}) (*struct{}, error) {
		return nil, rt.bus.ResolveFailure(ctx, in.ID)
	})
}
