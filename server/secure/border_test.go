package secure_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

// bundle writes a file of several authorities.
func bundle(t *testing.T, path string, of ...*pkitest.Authority) string {
	t.Helper()
	var all []byte
	for _, a := range of {
		b, err := os.ReadFile(a.File)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return pkitest.Write(t, path, all)
}

// Files of authorities were once compared as a whole: beside another authority the gateways' own made
// nodes of them.
func TestNoAuthorityIsOnBothSides(t *testing.T) {
	a, b := pkitest.New(t, "a"), pkitest.New(t, "b")
	under := a.Authority("under a")
	own := a.Issue("node.test")
	for name, test := range map[string]struct {
		inner, outer []*pkitest.Authority
		allow        []string
		good         bool
	}{
		"a/a":       {[]*pkitest.Authority{a}, []*pkitest.Authority{a}, nil, false},
		"a,b/a":     {[]*pkitest.Authority{a, b}, []*pkitest.Authority{a}, nil, false},
		"a/b,a":     {[]*pkitest.Authority{a}, []*pkitest.Authority{b, a}, nil, false},
		"a/b":       {[]*pkitest.Authority{a}, []*pkitest.Authority{b}, nil, true},
		"a/a,named": {[]*pkitest.Authority{a}, []*pkitest.Authority{a}, []string{"*.nodes.test"}, true},
		"a/under a": {[]*pkitest.Authority{a}, []*pkitest.Authority{under}, nil, false}, // which callers may bring along
		"under a/a": {[]*pkitest.Authority{under}, []*pkitest.Authority{a}, nil, true},
		"a/none":    {[]*pkitest.Authority{a}, nil, nil, true},
	} {
		port := secure.Port{Name: "peer", Cert: own.Cert, Key: own.Key, CA: bundle(t, filepath.Join(t.TempDir(), "in"), test.inner...), Allow: test.allow}
		inner, err := secure.Open(port, quiet)
		if err != nil {
			t.Fatal(err)
		}
		port = secure.Port{Name: "grpc", Cert: own.Cert, Key: own.Key}
		if test.outer != nil {
			port.CA = bundle(t, filepath.Join(t.TempDir(), "out"), test.outer...)
		}
		outer, err := secure.Open(port, quiet)
		if err != nil {
			t.Fatal(err)
		}
		err = secure.KeepApart([]*secure.Guard{inner}, []*secure.Guard{outer})
		if good := err == nil; good != test.good || !good && (!strings.Contains(err.Error(), "peer") || !strings.Contains(err.Error(), "grpc")) {
			t.Errorf("%s: %v, want it good: %v", name, err, test.good)
		}
	}
}

// Files that would bring an authority to both sides are refused, told once, and taken when the other
// side's have changed.
func TestNoReloadBringsAnAuthorityToBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := pkitest.New(t, "a"), pkitest.New(t, "b"), pkitest.New(t, "c")
		own, dir, log := a.Issue("node.test"), t.TempDir(), new(book)
		nodes, gateways := bundle(t, filepath.Join(dir, "nodes"), a), bundle(t, filepath.Join(dir, "gateways"), b)
		open := func(name, ca string) *secure.Guard {
			g, err := secure.Open(secure.Port{Name: name, Cert: own.Cert, Key: own.Key, CA: ca}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		inner, outer := open("peer", nodes), open("grpc", gateways)
		if err := secure.KeepApart([]*secure.Guard{inner}, []*secure.Guard{outer}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { inner.Watch(ctx) })
		watching.Go(func() { outer.Watch(ctx) })
		defer watching.Wait()
		defer stop()
		shown := func(g *secure.Guard, by *pkitest.Authority) error {
			pair := by.Issue("caller.test")
			ours, theirs := net.Pipe()
			defer ours.Close()
			_ = ours.SetDeadline(time.Now().Add(time.Second)) // a pipe has no room for what a refused caller still sends
			config := a.Client(&pair)
			config.ServerName = "node.test"
			go func() { _, _ = io.Copy(io.Discard, tls.Client(theirs, config)) }()
			return g.Server(ours).Handshake()
		}

		bundle(t, nodes, a, b)
		<-time.After(3 * time.Second)
		if err := shown(inner, b); err == nil {
			t.Error("a gateway's certificate is a node's after a reload of the nodes' file")
		}
		bundle(t, nodes, a)
		bundle(t, gateways, b, a)
		<-time.After(3 * time.Second)
		if err := shown(outer, a); err == nil {
			t.Error("a node's certificate is a gateway's after a reload of the gateways' file")
		}
		if told := strings.Count(log.String(), "old ones stay"); told != 2 || strings.Count(log.String(), "peer: an authority of its callers signs those of grpc too") != 2 {
			t.Errorf("told %d times, want twice: %s", told, log)
		}
		bundle(t, nodes, c)
		<-time.After(3 * time.Second)
		for _, side := range []struct {
			guard *secure.Guard
			of    *pkitest.Authority
		}{{outer, a}, {outer, b}, {inner, c}} {
			if err := shown(side.guard, side.of); err != nil {
				t.Errorf("%s does not go by its file, which is good now: %v", side.guard.Name, err)
			}
		}
	})
}
