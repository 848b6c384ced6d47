package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

// Whom gateways' authority signs could come in as a node, also if nodes have another one beside it.
func TestANodeRefusesGatewaysAsNodes(t *testing.T) {
	a, b := pkitest.New(t, "gateways"), pkitest.New(t, "nodes")
	own, both := b.Issue("node.test"), []byte(nil)
	for _, of := range []*pkitest.Authority{b, a} {
		ca, err := os.ReadFile(of.File)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, ca...)
	}
	gateways := secure.Port{Cert: own.Cert, Key: own.Key, CA: a.File}
	nodes := secure.Port{Cert: own.Cert, Key: own.Key, CA: pkitest.Write(t, filepath.Join(t.TempDir(), "ca.pem"), both)}
	for says, ports := range map[string]server.Ports{
		"peer: an authority of its callers signs those of grpc too":  {GRPC: gateways, Peer: nodes},
		"admin: an authority of its callers signs those of http too": {HTTP: gateways, Admin: nodes},
	} {
		n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", MaxKeys: 1, Ports: ports})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, %v; want an error that says %q", n, err, says)
		}
	}
}
