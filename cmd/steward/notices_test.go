package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/steward-bus/steward/errorkernel"
	"github.com/steward-bus/steward/internal/stewardtest"
)

// A node that is killed when an outcome is committed, and before its error kernel
// heard of it or after that kept it, tells of it in its next life, once.
func TestKilledBeforeItTold(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "steward")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "failpoint", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, x := range map[string]struct {
		args  []string
		class errorkernel.Class
		count int // of records: this node is sender and receiver
	}{
		"failed":   {[]string{"exec", "central", "--detach", "--", "false"}, errorkernel.Handler, 1},
		"timeout":  {[]string{"exec", "central", "--detach", "--method-timeout", "10ms", "--", "sleep", "60"}, errorkernel.Handler, 1},
		"rejected": {[]string{"send", "--to", "central", "--method", "Ping"}, errorkernel.Rejection, 2},
	} {
		for _, point := range []string{"noticed:1", "failure-kept:1"} {
			t.Run(name+" "+point, func(t *testing.T) {
				dir := stewardtest.ShortDir(t)
				run := []string{"run", "--node", "central", "--listen", "127.0.0.1:0", "--data", dir, "--config", write(t, "c.yaml", "allow: {Ping: [nobody]}\n")}
				env := []string{"STEWARD_DATA=" + dir}
				killed := binary(context.WithoutCancel(t.Context()), []string{"STEWARD_FAILPOINT=" + point}, run...)
				killed.Path = bin
				first := start(t, killed)
				first.line(`"msg":"ready"`)
				submitted := begin(t, env, x.args...) // it may have no answer before the node is there again
				if code := first.wait(); code != -1 {
					t.Fatalf("ended with %d, want killed", code)
				}
				begin(t, nil, run...).line(`"msg":"ready"`)
				if code := submitted.wait(); code != 0 {
					t.Fatalf("submitted: %d", code)
				}
				var list []errorkernel.Failure
				for len(list) < x.count {
					if r := call(t, env, "", "errors", "--class", string(x.class), "-o", "json"); r.code == 0 { // else it is not there yet
						parse(t, r.stdout, &list)
					}
				}
				if len(list) != x.count || list[0].Count != 1 {
					t.Errorf("%d records: %+v", len(list), list)
				}
			})
		}
	}
}
