// Package sluice holds no code: only the test that keeps the house's packages apart.
package sluice

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/overten/sluice/"

// rules say which of our packages may import which, and who may import what from others.
// Dependencies point one way: cmd → server → limiter, client → proto and the contract.
var rules = []struct {
	from   string // the folder that the rule is for, with all below it
	except string // but not this one
	banned string // an import, with all below it
	why    string
}{
	{"limiter", "limiter/policy", module, "the engine and the contract import nothing of ours"},
	{"limiter/policy", "", module + "limiter/contract", "policies know nothing of HTTP"},
	{"limiter/policy", "", module + "server", "dependencies point one way: server imports policy"},
	{"limiter/contract", "", "google.golang.org/", "the contract is standard library only"},
	{"limiter/contract", "", "github.com/", "the contract is standard library only"},
	{"limiter/contract", "", "go.yaml.in/", "the contract is standard library only"},
	{"proto", "", module, "generated code knows only itself"},
	{"client", "", module + "server", "a gateway that imports the client gets no server"},
	{"client", "", module + "limiter/policy", "a gateway that imports the client gets no YAML"},
	{"client", "", module + "cmd", "dependencies point one way: cmd imports client"},
	{"client", "", "github.com/spf13/", "a library has no command line"},
	{"cluster", "", module + "server", "dependencies point one way: server imports cluster"},
	{"cluster", "", module + "client", "a node asks no node through the gateways' client"},
	{"cluster", "", module + "cmd", "dependencies point one way: cmd imports cluster"},
	{"cluster", "", module + "limiter/policy", "nodes agree on tiers by name, and know no files"},
	{"cluster", "cluster/peer", module + "proto", "one package speaks the peer proto"},
	{"cluster/ownership", "", "google.golang.org/", "the machine knows no network"},
	{"cluster/ownership", "", module + "cluster/peer", "the machine knows no network"},
	{"cluster/ownership", "", module + "cluster/gossip", "the machine knows no network"},
	{"cluster/ownership", "", "log", "the machine knows no log"},
	{"cluster/ownership", "", "sync", "the machine knows no goroutine"},
	{"cluster/ownership", "", "context", "the machine knows no goroutine"},
	{"", "cluster/ring", "github.com/buraksezer/consistent", "one package knows how the ring is made"},
	{"", "cluster/gossip", "github.com/hashicorp/memberlist", "one package knows how members are found"},
	{"", "server/metrics", "github.com/prometheus/", "one package knows who collects what is counted"},
	{"server/secure", "", module + "cluster", "it knows files, certificates and tokens, and not what it stands for"},
	{"server/secure", "", module + "proto", "it knows files, certificates and tokens, and not what it stands for"},
	{"server/slack", "", module, "it knows the system, and nothing of what runs on it"},
	{"", "", module + "server/secure/pkitest", "certificates of tests are for tests"},
	{"", "cluster/gossip/gossiptest", module + "cluster/gossip/gossiptest", "what looks for leaks is for tests"},
	{"server", "", module + "client", "a node asks no node through the gateways' client"},
	{"server", "", module + "cmd", "dependencies point one way: cmd imports server"},
	{"server", "", "github.com/spf13/", "only the command knows its flags"},
	{"server/admin", "", module + "proto/sluice/v1", "faces for gateways alone speak the public proto"},
	{"server/metrics", "", module + "proto/sluice/v1", "faces for gateways alone speak the public proto"},
	{"server/rpc", "", module + "server/trace", "who is traced says what it needs of who traces"},
	{"server/httpauth", "", module + "server/rpc", "faces know each other by the API only"},
	{"server/envoy", "", module + "server/rpc", "faces know each other by the API only"},
	{"", "server/trace", "go.opentelemetry.io/", "one package knows who is told of traces"},
	{"", "server/envoy", "github.com/envoyproxy/", "one package speaks Envoy's protocols"},
	{"", "server/httpauth", "github.com/dunglas/httpsfv", "one package writes structured fields"},
}

func TestDependenciesPointOneWay(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "bench" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		checked++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			for _, r := range rules {
				if within(filepath.ToSlash(path), r.from) && !(r.except != "" && within(filepath.ToSlash(path), r.except)) && within(imported, r.banned) {
					t.Errorf("%s imports %s: %s", path, imported, r.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 30 {
		t.Errorf("only %d files were checked", checked)
	}
}

// within tells whether path is folder or below it. Everything is below "".
func within(path, folder string) bool {
	if folder == "" {
		return true
	}
	folder = strings.TrimSuffix(folder, "/")
	return path == folder || strings.HasPrefix(path, folder+"/")
}
