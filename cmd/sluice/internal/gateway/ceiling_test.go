package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
)

func TestSyncCeiling(t *testing.T) {
	canceled := make(chan struct{}, 1)
	r := newRig(t, setup{
		config: func(c *gateway.Config) { c.SyncCeiling = 50 * time.Millisecond },
		upstream: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "begin" {
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
			}
			io.Copy(io.Discard, r.Body) // else its end is not seen
			<-r.Context().Done()
			canceled <- struct{}{}
		},
	})
	t.Run("not answered", func(t *testing.T) {
		res := r.request(t, "POST", "/run", free, strings.NewReader("x"))
		res.wantError(t, contract.SyncTimeoutUpgradeAsync)
		<-canceled
		if n := r.inUse(t, free); n != 0 {
			t.Errorf("%d runs in use", n)
		}
	})
	t.Run("answer begun", func(t *testing.T) {
		res := r.request(t, "POST", "/run?begin", free, nil)
		if res.err == nil || string(res.body) != "half" {
			t.Errorf("body %q, %v; want one that breaks off", res.body, res.err)
		}
		<-canceled
		r.waitInUse(t, free, 0)
	})
	t.Run("upload stalls", func(t *testing.T) {
		conn := r.dial(t)
		fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\nhalf", free)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		result{status: res.StatusCode, header: res.Header, body: b}.wantError(t, contract.SyncTimeoutUpgradeAsync)
		<-canceled
		r.waitInUse(t, free, 0)
	})
}

// A client that does not read its response does not keep its slot for ever.
func TestSyncCeilingOfAClientThatDoesNotRead(t *testing.T) {
	r := newRig(t, setup{
		config: func(c *gateway.Config) { c.SyncCeiling = 50 * time.Millisecond },
		upstream: func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
	})
	conn := r.dial(t)
	fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", free)
	r.waitInUse(t, free, 1)
	r.waitInUse(t, free, 0)
}

// The ceiling of one request is not that of the next on its connection.
func TestCeilingEndsWithItsRequest(t *testing.T) {
	r := newRig(t, setup{config: func(c *gateway.Config) { c.SyncCeiling = 50 * time.Millisecond }})
	conn := r.dial(t)
	in := bufio.NewReader(conn)
	for range 2 {
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", free)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		<-time.After(100 * time.Millisecond)
	}
}

// The ceiling does not count what the limiter takes at the end of a run: the
// connection serves the next request.
func TestCeilingWhileTheLeaseIsReleased(t *testing.T) {
	r := newRig(t, setup{
		config:  func(c *gateway.Config) { c.SyncCeiling = time.Second },
		release: func() { <-time.After(1300 * time.Millisecond) },
	})
	conn := r.dial(t)
	in := bufio.NewReader(conn)
	for i := range 2 {
		fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", free)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "fine" || err != nil {
			t.Fatalf("request %d: %q, %v", i, b, err)
		}
		res.Body.Close()
	}
}

// A client that was refused gets its answer, even if it never sends the rest of its body.
func TestRefusalOfAStalledUpload(t *testing.T) {
	r := newRig(t, setup{})
	r.gateway.SetPatience(10 * time.Millisecond)
	conn := r.dial(t)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "POST /files HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	result{status: res.StatusCode, header: res.Header, body: b}.wantError(t, contract.InvalidAPIKey)
}

// dial opens a connection to the gateway that is closed when the test ends.
func (r *rig) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}
