package steward_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers lists, for each package, the packages of this module that it may
// import. The house has one direction: down. The root and cmd may import all.
var layers = map[string][]string{
	"subject":     {},
	"ack":         {},
	"errorkernel": {},
	"message":     {"subject", "ack"},
	"store":       {"message", "subject", "ack", "internal/failpoint"},
	"process":     {"message", "subject", "ack", "store", "internal/failpoint"},

	"internal/api":       {"message", "store", "errorkernel", "subject", "ack"},
	"internal/config":    {"message", "subject", "internal/follow", "internal/transport"},
	"internal/crashfs":   {},
	"internal/failpoint": {},
	"internal/follow":    {"message", "subject"},
	"internal/method":    {"internal/runner", "message", "process", "subject", "ack", "internal/failpoint"},
	"internal/metrics":   {"errorkernel", "ack"},
	"internal/runner":    {},
	"internal/submit":    {"message", "internal/failpoint"},
	"internal/tenure":    {},
	"internal/transport": {"subject"},

	// These drive whole nodes, or stand for the protocol without any.
	"internal/bench":       {"", "message", "store", "process", "subject", "ack", "internal/transport", "internal/fleet"},
	"internal/fleet":       {"message", "store", "process", "subject", "internal/transport"},
	"internal/model":       {},
	"internal/stewardtest": {"", "message", "store", "process", "subject", "ack", "errorkernel"},
	"internal/torture":     {"store", "subject", "ack", "errorkernel", "internal/api", "internal/failpoint", "internal/crashfs", "message", "process", "internal/fleet", "internal/transport"},
}

func TestImportsPointDown(t *testing.T) {
	const module = "github.com/steward-bus/steward"
	var stderr strings.Builder
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", `{{.ImportPath}}:{{join .Imports ","}}`, "./...")
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		pkg, ok := within(module, path)
		if !ok || pkg == "" || strings.HasPrefix(pkg, "cmd/") {
			continue
		}
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("%s is not in layers: add it, with the packages that it may import", pkg)
			continue
		}
		for imp := range strings.SplitSeq(imports, ",") {
			if down, ok := within(module, imp); ok && !slices.Contains(allowed, down) {
				t.Errorf("%s imports %s: layers allows it %q", pkg, imp, allowed)
			}
		}
	}
}

// within is path relative to module: empty for the root.
func within(module, path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}
