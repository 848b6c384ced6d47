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
)

// All of an upload arrives, also what the client sends after the answer has begun.
func TestUploadGoesOnAfterTheAnswerHasBegun(t *testing.T) {
	got := make(chan string, 1)
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		first := make([]byte, 4)
		io.ReadFull(r.Body, first)
		io.WriteString(w, "begun")
		rc.Flush()
		n, err := io.Copy(io.Discard, r.Body)
		got <- fmt.Sprintf("%s and %d, %v", first, n, err)
		io.WriteString(w, " and done")
	}})
	part := strings.Repeat("x", 1000)
	for framing, send := range map[string][3]string{
		"Transfer-Encoding: chunked": {"4\r\nhalf\r\n", "3e8\r\n" + part + "\r\n", "0\r\n\r\n"},
		"Content-Length: 100004":     {"half", part, ""},
	} {
		conn := r.dial(t)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s", pro, framing, send[0])
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", framing, err)
		}
		begun := make([]byte, 5)
		io.ReadFull(res.Body, begun)
		for range 100 {
			io.WriteString(conn, send[1])
		}
		io.WriteString(conn, send[2])
		rest, err := io.ReadAll(res.Body)
		res.Body.Close()
		if answer := string(begun) + string(rest); answer != "begun and done" || err != nil {
			t.Errorf("%s: answer is %q, %v", framing, answer, err)
		}
		if s := <-got; s != "half and 100000, <nil>" {
			t.Errorf("%s: the upstream got %s", framing, s)
		}
	}
}

// An upload that was read to its end leaves its connection to the next.
func TestConnectionServesTheNextUpload(t *testing.T) {
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }})
	conn := r.dial(t)
	in := bufio.NewReader(conn)
	for _, upload := range []string{"Transfer-Encoding: chunked\r\n\r\n4\r\nsent\r\n0\r\n\r\n", "Content-Length: 4\r\n\r\nsent", "Content-Length: 0\r\n\r\n"} {
		fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s", free, upload)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.Close || res.StatusCode != 200 {
			t.Errorf("status %d, %q, %v; closes: %v", res.StatusCode, b, err, res.Close)
		}
	}
}

// An answer does not wait for the rest of an upload, and neither does its
// connection: for the package's patience at most.
func TestAnswerBeforeTheUpload(t *testing.T) {
	const sized, chunked = "Content-Length: 5\r\n\r\nearly", "Transfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n0\r\n\r\n"
	tests := []struct {
		name, framing, begun, answer string
		patience                     time.Duration
	}{
		{"answered at once", "Content-Length: 1000", "half", sized, time.Minute},
		{"chunks, answered at once", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", sized, time.Minute},
		{"chunks, answered in chunks", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", chunked, time.Minute},
		{"given up", "Content-Length: 1000", "half", sized, 10 * time.Millisecond},
		{"chunks, given up", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", chunked, 10 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, setup{at: answering(t, "HTTP/1.1 200 OK\r\n"+test.answer)})
			r.gateway.SetPatience(test.patience)
			conn := r.dial(t)
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s", free, test.framing, test.begun)
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(res.Body); string(b) != "early" || err != nil {
				t.Errorf("answer is %q, %v", b, err)
			}
			res.Body.Close()
			if n := r.inUse(t, free); n != 0 {
				t.Errorf("%d runs in use", n)
			}
			if test.patience == time.Minute {
				return
			}
			if _, err := in.ReadByte(); err != io.EOF {
				t.Errorf("behind the answer: %v, want the connection's end", err)
			}
		})
	}
}

// An answer that breaks off breaks off for a client that stalls in its upload too.
func TestBrokenAnswerBeforeTheUpload(t *testing.T) {
	r := newRig(t, setup{at: answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\nnonsense\r\n")})
	r.gateway.SetPatience(time.Minute)
	conn := r.dial(t)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\nhalf", free)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "early" || err != io.ErrUnexpectedEOF {
		t.Errorf("answer is %q, %v; want one that breaks off", b, err)
	}
}

// Behind an upload that is broken nothing counts as a request: it may be the
// upload's.
func TestNoRequestBehindABrokenUpload(t *testing.T) {
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/smuggled" {
			t.Error("it was served")
		}
	}})
	conn := r.dial(t)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"+
		"GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %[1]s\r\n\r\n", free)
	b, _ := io.ReadAll(conn)
	if n := strings.Count(string(b), "HTTP/1.1 "); n != 1 || !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("%d answers: %q", n, b)
	}
	if got := r.left(t, free); got != 9 {
		t.Errorf("%d units left, want 9", got)
	}
}

// answering is the URL of an upstream that answers as soon as it has the header,
// reads nothing behind it, and keeps its connections.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for line := ""; line != "\r\n"; {
					if line, err = in.ReadString('\n'); err != nil {
						return
					}
				}
				io.WriteString(conn, answer)
				<-ended
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
