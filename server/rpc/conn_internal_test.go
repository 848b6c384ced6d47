package rpc

import (
	"bytes"
	"errors"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flood is a connection on which there is always more to read. Writes go on as long as stuck is not
// closed.
type flood struct {
	net.Conn
	stuck  chan struct{}
	asked  []int // how much each read asked for
	closed atomic.Bool
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

func (f *flood) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (f *flood) Close() error {
	f.closed.Store(true)
	return nil
}

type one struct {
	net.Listener
	conn net.Conn
}

func (l one) Accept() (net.Conn, error) { return l.conn, nil }

func accept(t *testing.T, conn net.Conn) *fairConn {
	t.Helper()
	c, err := fairListener{one{conn: conn}, new(atomic.Int64), new(connections)}.Accept()
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
		c.unsent = func() (int, bool) { return 1 << 20, true }
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

func TestWhoTakesAnswersSlowlyIsReadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flood{stuck: make(chan struct{})}
		c := accept(t, f)
		began := time.Now()
		c.unsent = func() (int, bool) { return 1<<20 - int(time.Since(began)/time.Second), true }
		go c.Write([]byte("answer"))
		synctest.Wait()
		read, failed := 0, make(chan error, 1)
		go readAll(c, &read, failed)
		time.Sleep(2 * stuckTimeout)
		synctest.Wait()
		if trickled := 2 * int(stuckTimeout/trickle); read < (stuckReads+1)*leastShare || read > (stuckReads+trickled)*readBuffer {
			t.Errorf("%d bytes were read", read)
		}
		close(f.stuck)
		if err := <-failed; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it was given up")
		}
	})
}

// A payload that has begun starts no further calls: it takes no turns, and as much as there is.
func TestLongMessagesAreReadAtOnce(t *testing.T) {
	f := new(flood)
	c := accept(t, f)
	header, payload := make([]byte, 9), make([]byte, 16<<10)
	for range 100 {
		for _, p := range [][]byte{header, payload} {
			for len(p) > 0 {
				c.share = leastShare // as it is where there is much to do
				n, err := c.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
		}
	}
	if small := len(slices.DeleteFunc(f.asked, func(n int) bool { return n > leastShare })); small > 100 {
		t.Errorf("of 100 messages of 16 KiB %d pieces were small", small)
	}
}

func TestUntakenAnswersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(flood)
		c := accept(t, f)
		var unsent atomic.Int64
		c.unsent = func() (int, bool) { return int(unsent.Load()), true }
		all := func() int64 { return c.untaken.all.Load() }
		short := newBatchAnswer(1, nil, 10, c)
		short.buffer().Free()
		if all() != 0 {
			t.Errorf("a short answer counts %d bytes", all())
		}
		answer := newBatchAnswer(1, nil, 10_000, c)
		if all() < 10_000*resultBytes {
			t.Errorf("%d bytes are counted", all())
		}
		answer.drop()
		taken := newBatchAnswer(1, nil, 10_000, c).buffer()
		taken.Free()
		if all() != 0 {
			t.Errorf("%d bytes are counted of what was taken", all())
		}
		var held int
		for ; c.untaken.room() && held < 1000; held++ {
			newBatchAnswer(1, nil, 100_000, c).buffer()
		}
		if held == 0 || held == 1000 || all() > mostOfOne+16<<20 {
			t.Errorf("%d answers may be untaken, of %d bytes", held, all())
		}
		for range 3 { // taken slowly
			c.written.Add(leastProgress)
			time.Sleep(stuckTimeout)
			synctest.Wait()
		}
		if f.closed.Load() {
			t.Error("a slow client was given up")
		}
		for range 3 { // within one write
			unsent.Add(1)
			time.Sleep(stuckTimeout)
			synctest.Wait()
		}
		if f.closed.Load() {
			t.Error("a client for which one write takes long was given up")
		}
		time.Sleep(stuckTimeout)
		synctest.Wait()
		if !f.closed.Load() || all() != 0 {
			t.Errorf("a client that takes nothing: closed %v, %d bytes", f.closed.Load(), all())
		}
	})
}
