package rpc

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// flood is a connection on which there is always more to read. Writes go on as long as stuck is not
// closed.
type flood struct {
	net.Conn
	stuck chan struct{}
	asked []int // how much each read asked for
}

func (f *flood) Read(p []byte) (int, error) {
	f.asked = append(f.asked, len(p))
	for i := range p {
		p[i] = 'k'
	}
	return len(p), nil
}

func (f *flood) Write(p []byte) (int, error) {
	<-f.stuck
	return len(p), nil
}

type one struct {
	net.Listener
	conn net.Conn
}

func (l one) Accept() (net.Conn, error) { return l.conn, nil }

func accept(t *testing.T, conn net.Conn) *fairConn {
	t.Helper()
	c, err := fairListener{one{conn: conn}}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*fairConn)
}

func TestConnectionsTakeTurns(t *testing.T) {
	for _, c := range []struct {
		share int
		late  time.Duration
		want  int
	}{
		{leastShare, 0, 2 * leastShare},
		{readBuffer, 0, readBuffer},
		{readBuffer, longTurn, readBuffer},
		{readBuffer, longTurn + 1, readBuffer / 2},
		{leastShare, time.Second, leastShare},
	} {
		if got := shareAfter(c.share, c.late); got != c.want {
			t.Errorf("%d after %v: %d, want %d", c.share, c.late, got, c.want)
		}
	}
	f := new(flood)
	conn := accept(t, f)
	p := make([]byte, 9)
	for range 100_000 {
		if n, err := conn.Read(p); n == 0 || err != nil || !bytes.Equal(p[:n], bytes.Repeat([]byte{'k'}, n)) {
			t.Fatalf("%q, %v", p[:n], err)
		}
	}
	if f.asked[0] != leastShare {
		t.Errorf("a new connection is read %d bytes at once", f.asked[0])
	}
	for i, n := range f.asked[1:] {
		if n > 2*f.asked[i] || n > readBuffer {
			t.Errorf("read %d takes %d bytes after %d", i+1, n, f.asked[i])
		}
	}
	if !bytes.Equal(conn.buf[:conn.r], make([]byte, conn.r)) {
		t.Error("what was read is kept")
	}
}

// readAll reads until it gets an error, and tells how much it has read by now.
func readAll(c *fairConn, read *int, failed chan<- error) {
	p := make([]byte, 9)
	for {
		n, err := c.Read(p)
		if *read += n; err != nil {
			failed <- err
			return
		}
		if *read > 64<<20 {
			failed <- errors.New("there is no end to it")
			return
		}
	}
}

func TestFromWhoTakesNoAnswersNothingIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flood{stuck: make(chan struct{})}
		c := accept(t, f)
		go c.Write([]byte("answer"))
		synctest.Wait()
		read, failed := 0, make(chan error, 1)
		began := time.Now()
		go readAll(c, &read, failed)
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < stuckTimeout || took > stuckTimeout+time.Second {
			t.Errorf("it was given up after %v", took)
		}
		if read > stuckReads*readBuffer {
			t.Errorf("%d bytes were read", read)
		}
		close(f.stuck)
	})
}

func TestWhoTakesAnswersAgainIsReadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flood{stuck: make(chan struct{})}
		c := accept(t, f)
		go c.Write([]byte("answer"))
		synctest.Wait()
		read, failed := 0, make(chan error, 1)
		go readAll(c, &read, failed)
		time.Sleep(stuckTimeout / 2)
		synctest.Wait()
		if read > stuckReads*readBuffer {
			t.Errorf("%d bytes were read", read)
		}
		close(f.stuck)
		if err := <-failed; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it was given up")
		}
	})
}
