package client_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/overten/sluice/"

// may are the packages outside the standard library, by prefix, that a gateway
// takes in with the client.
var may = []string{
	module + "client",
	module + "proto/sluice/v1",
	module + "limiter/contract",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
	"google.golang.org/genproto/googleapis/rpc",
	"github.com/dchest/siphash", // a key's partition
	"golang.org/x/net",          // these three are what grpc itself needs
	"golang.org/x/sys",
	"golang.org/x/text",
}

// never are packages, by prefix, that must not come in, and why.
var never = []struct{ path, reason string }{
	{module + "limiter/policy", "a gateway is told decisions; the policy file is the node's"},
	{module + "server", "whoever asks a node must not have to build one"},
	{module + "cluster", "membership and handoff are the nodes' business"},
	{module + "cmd", "a library does not import a program"},
	{module + "proto/sluice/admin", "operators' calls are not a gateway's"},
	{module + "proto/sluice/peer", "only nodes speak to nodes"},
	{module + "client/internal/fakelimiter", "it is for tests"},
	{"testing", "flags of the test runner would show up in every gateway"},
	{"github.com/spf13/cobra", "command lines belong to cmd"},
	{"go.yaml.in/yaml", "the client reads no file"},
	{"github.com/prometheus", "metrics are the gateway's choice"},
	{"go.opentelemetry.io", "tracing comes in through dial options"},
	{"github.com/hashicorp", "membership libraries are for nodes"},
	{"google.golang.org/grpc/reflection", "it is for servers"},
	{"google.golang.org/grpc/test", "it is for tests"},
}

func TestImportsAreLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"client", module+"client/httplimit").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("go list names %d packages only: %s", len(deps), out)
	}
	for _, dep := range deps {
		if dep == module+"limiter" {
			t.Errorf("imports %s: the engine is for nodes, and brings its identities and tables", dep)
		}
		for _, ban := range never {
			if within(dep, ban.path) {
				t.Errorf("imports %s: %s", dep, ban.reason)
			}
		}
		if !standard(dep) && !mayImport(dep) {
			t.Errorf("imports %s: every gateway that imports the client would pay for it", dep)
		}
	}
}

func mayImport(pkg string) bool {
	for _, path := range may {
		if within(pkg, path) {
			return true
		}
	}
	return false
}

// within reports whether pkg is path or below it.
func within(pkg, path string) bool {
	return pkg == path || strings.HasPrefix(pkg, path+"/")
}

// standard reports whether pkg is of the standard library, whose paths have no
// dot in the first element.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}
