package secure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func TestOpenRefuses(t *testing.T) {
	a := pkitest.New(t, "a")
	p, other := a.Issue("a.test"), a.Issue("b.test")
	file := func(content string) string {
		return pkitest.Write(t, filepath.Join(t.TempDir(), "file"), []byte(content))
	}
	for what, test := range map[string]struct {
		port secure.Port
		says string
	}{
		"no key":           {secure.Port{Cert: p.Cert}, "go together"},
		"no certificate":   {secure.Port{Key: p.Key}, "go together"},
		"only a CA":        {secure.Port{CA: a.File}, "certificate and key are missing"},
		"names without CA": {secure.Port{Cert: p.Cert, Key: p.Key, Allow: []string{"a"}}, "authority"},
		"a star inside":    {secure.Port{Cert: p.Cert, Key: p.Key, CA: a.File, Allow: []string{"a.*.b"}}, `"a.*.b"`},
		"an empty name":    {secure.Port{Cert: p.Cert, Key: p.Key, CA: a.File, Allow: []string{""}}, `""`},
		"another's key":    {secure.Port{Cert: p.Cert, Key: other.Key}, other.Key},
		"no file":          {secure.Port{TokenFile: "/none/such"}, "/none/such"},
		"a CA of nothing":  {secure.Port{Cert: p.Cert, Key: p.Key, CA: file("nothing")}, "no certificate in PEM"},
		"no token":         {secure.Port{TokenFile: file("\n# none\n")}, "no token"},
		"a short token":    {secure.Port{TokenFile: file("0123456789abcdef\nshort\n")}, "line 2"},
	} {
		test.port.Name = "admin"
		if _, err := secure.Open(test.port, quiet); err == nil || !strings.HasPrefix(err.Error(), "admin: ") || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v; want an error of the port that says %q", what, err, test.says)
		}
	}
}

// A token is good while the file has it; names are compared label by label.
func TestCheck(t *testing.T) {
	a := pkitest.New(t, "a")
	own := a.Issue("node.test")
	for _, test := range []struct {
		allow, has string
		err        error
	}{
		{"gw.test", "gw.test", nil},
		{"GW.test", "gw.test", nil},
		{"gw.test", "gw.test.evil", secure.ErrForbidden},
		{"gw.test", "evil-gw.test", secure.ErrForbidden},
		{"*.gw.test", "a.gw.test", nil},
		{"*.gw.test", "a.b.gw.test", secure.ErrForbidden},
		{"*.gw.test", "gw.test", secure.ErrForbidden},
		{"spiffe://td/gw", "spiffe://td/gw", nil},
		{"spiffe://td/gw", "spiffe://td/gw/more", secure.ErrForbidden},
	} {
		g, err := secure.Open(secure.Port{Cert: own.Cert, Key: own.Key, CA: a.File, Allow: []string{test.allow}}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		caller := a.Issue(test.has)
		state, _, err := handshake(t, g, a.Client(&caller))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Caller().Check(state, ""); err != test.err {
			t.Errorf("allowed %s, has %s: %v, want %v", test.allow, test.has, err, test.err)
		}
		if err := g.Caller().Check(nil, "anything at all"); err != secure.ErrUnknown {
			t.Errorf("without a certificate: %v", err)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer  abc ": "abc", "BEARER abc": "abc", "Basic abc": "", "Bearer": "", "": "", "Bearerabc": "",
	} {
		if got := secure.Bearer(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// handshake lets a caller come to a guard over memory.
func handshake(t *testing.T, g *secure.Guard, with *tls.Config) (*tls.ConnectionState, *ends, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	with = with.Clone()
	with.ServerName = "node.test"
	client := tls.Client(theirs, with)
	go func() { _ = client.Handshake() }()
	server := g.Server(ours)
	err := server.Handshake()
	state := server.ConnectionState()
	return &state, &ends{server, client}, err
}

// ends are those of a connection.
type ends struct{ server, client *tls.Conn }

// Links are followed: a ConfigMap's files are links into a folder that is a link, and that one
// is replaced. What is withdrawn is worth nothing any more, also on connections that are open.
func TestFilesBehindLinksAreReadAgain(t *testing.T) {
	old, next := pkitest.New(t, "old"), pkitest.New(t, "new")
	dir := t.TempDir()
	for name, a := range map[string]*pkitest.Authority{"1": old, "2": next} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		a.IssueTo(pkitest.Pair{Cert: filepath.Join(dir, name, "cert"), Key: filepath.Join(dir, name, "key")}, time.Hour, "node.test")
		ca, err := os.ReadFile(a.File)
		if err != nil {
			t.Fatal(err)
		}
		pkitest.Write(t, filepath.Join(dir, name, "ca"), ca)
		pkitest.Write(t, filepath.Join(dir, name, "tokens"), []byte("the token of folder "+name+"\n"))
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(dir, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("1")
	at := func(name string) string { return filepath.Join(dir, "data", name) }
	log := new(book)
	g, err := secure.Open(secure.Port{Name: "grpc", Cert: at("cert"), Key: at("key"), CA: at("ca"), TokenFile: at("tokens")}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { g.Watch(ctx) })
	defer watching.Wait()
	defer stop()

	theirs := old.Issue("gw.test")
	state, _, err := handshake(t, g, old.Client(&theirs))
	if err != nil {
		t.Fatal(err)
	}
	caller := g.Caller()
	if err := caller.Check(state, ""); err != nil {
		t.Fatal(err)
	}
	link("2")
	log.await(t, "were read again")
	if err := caller.Check(state, ""); err != secure.ErrUnknown {
		t.Errorf("whose authority was withdrawn: %v", err)
	}
	if err := g.Caller().Check(nil, "the token of folder 1"); err != secure.ErrUnknown {
		t.Errorf("a token that was withdrawn: %v", err)
	}
	if err := g.Caller().Check(nil, "the token of folder 2"); err != nil {
		t.Errorf("a new token: %v", err)
	}
	pkitest.Write(t, filepath.Join(dir, "2", "tokens"), []byte("short\n"))
	log.await(t, "old ones stay")
	if err := g.Caller().Check(nil, "the token of folder 2"); err != nil {
		t.Errorf("while the file is bad: %v", err)
	}
	if strings.Contains(log.String(), "folder") {
		t.Errorf("the log tells a token: %s", log)
	}
}

// What was read is overwritten when more is asked for, whatever the sizes.
func TestNothingReadIsKept(t *testing.T) {
	a := pkitest.New(t, "a")
	own := a.Issue("node.test")
	g, err := secure.Open(secure.Port{Cert: own.Cert, Key: own.Key}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	_, conn, err := handshake(t, g, a.Client(nil))
	if err != nil {
		t.Fatal(err)
	}
	seen := secure.Filled(conn.server)
	const secret = "sk_live_0123456789"
	for _, size := range []int{1, 100, 5000, 40_000, 3} {
		message := bytes.Repeat([]byte(secret), size)
		var sent sync.WaitGroup
		sent.Go(func() { _, _ = conn.client.Write(message) })
		got := make([]byte, len(message))
		if _, err := io.ReadFull(conn.server, got); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%d bytes: %v", len(message), err)
		}
		sent.Wait()
		found := 0
		for _, b := range seen() {
			found += bytes.Count(b, []byte("sk_live_"))
		}
		if size == 1 && found == 0 {
			t.Error("the test does not see the plain text where crypto/tls leaves it")
		}
		sent.Go(func() { _, _ = conn.client.Write([]byte{1}) })
		if _, err := io.ReadFull(conn.server, got[:1]); err != nil {
			t.Fatal(err)
		}
		sent.Wait()
		for _, b := range seen() {
			if bytes.Contains(b, []byte("sk_live_")) {
				t.Errorf("of %d bytes some are left", len(message))
			}
		}
	}
}

// One connection too many is closed at once; when another ends there is room.
func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := new(book)
	lis := secure.Limit(inner, 2, slog.New(slog.NewTextHandler(log, nil)))
	accepted := make(chan net.Conn)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	})
	defer accepting.Wait()
	defer lis.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	defer second.Close()
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("a third was not closed")
	}
	if !strings.Contains(log.String(), "connections=2") {
		t.Errorf("the log says %q", log)
	}
	_, _ = first.Close(), first.Close() // twice counts once
	dial()
	third := <-accepted
	defer third.Close()
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("one that was closed twice made room for two")
	}
}

// Behind the limit a connection was once none of the system's: what it was asked of it failed.
func TestLimitedConnectionsAreTheSystems(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lis := secure.Limit(inner, 1, quiet)
	defer lis.Close()
	dialed, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	c, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	of, ok := c.(syscall.Conn)
	if !ok {
		t.Fatalf("a %T is no syscall.Conn", c)
	}
	raw, err := of.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	if err := raw.Control(func(uintptr) { asked = true }); err != nil || !asked {
		t.Errorf("asked: %v, %v", asked, err)
	}

	pipe, end := net.Pipe()
	defer end.Close()
	c, err = secure.Limit(only{pipe}, 1, quiet).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.(syscall.Conn).SyscallConn(); err == nil || !strings.Contains(err.Error(), "*net.pipe") {
		t.Errorf("of a pipe in memory: %v", err)
	}
}

// only is a listener that has one connection.
type only struct{ conn net.Conn }

func (o only) Accept() (net.Conn, error) { return o.conn, nil }
func (o only) Close() error              { return nil }
func (o only) Addr() net.Addr            { return o.conn.LocalAddr() }

// book is a log that can be waited on.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *book) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *book) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *book) await(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(l.String(), what); {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q: %s", what, l)
		}
		<-time.After(10 * time.Millisecond)
	}
}
