package rpc

import (
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// A fairListener accepts connections that no client gains from abusing: fairConn says how. The
// server must read from them without a buffer of its own.
type fairListener struct {
	net.Listener
	untaken *atomic.Int64 // by all of them
	open    *connections
}

func (l fairListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &fairConn{Conn: conn, buf: make([]byte, firstBuffer), share: leastShare, unsent: unsentOf(conn), untaken: untaken{all: l.untaken}}
	c.remote = &clientAddr{conn.RemoteAddr(), c}
	c.open = l.open
	l.open.add(c)
	return c, nil
}

// An idle connection keeps a small buffer; one that fills it gets one twice as large.
const (
	firstBuffer = 1 << 10
	readBuffer  = 32 << 10
)

// A connection that always has more to say than is read at once takes turns with what else is to
// be done, and reads leastShare at first, some four calls. If its turn comes within longTurn it reads
// twice as much from then on, else half as much: its calls are all under way as soon as they are
// read, and would hold up those of others.
const (
	longTurn   = time.Millisecond
	leastShare = 256
)

// While a client takes no answers, nothing more is read from it: what is answered must be kept
// until it is taken, without a bound. That it takes none shows in one write that goes on while so much
// was read that it was read in stuckReads steps. It is given up when it has received nothing for
// stuckTimeout; one that is merely slow is not, though a write may take it longer: it is read once in
// trickle, so that grpc sees its answers to pings.
const (
	stuckReads   = 8
	stuckTimeout = 20 * time.Second
	trickle      = 10 * time.Second
)

// fairConn is a buffered reader on a connection. It keeps no byte once it was read: what it buffers
// holds API keys. Reads come from one goroutine at a time, and writes too, as grpc does.
type fairConn struct {
	net.Conn
	buf  []byte
	r, w int // buf[r:w] was not read yet; all else is zero

	share int  // bytes that are read at once
	more  bool // the last read took its share: there may be more

	writes atomic.Uint64 // writes that began and that ended: odd during one
	during uint64        // writes, when last read;
	reads  int           // reads, one after another, that fell into the same write

	open    *connections                   // that it is one of
	unsent  func() (bytes int, known bool) // how much of what was written was not received
	written atomic.Int64                   // bytes
	untaken untaken
	remote  *clientAddr
}

// RemoteAddr returns the client's address.
func (c *fairConn) RemoteAddr() net.Addr { return c.remote }

// unknown tells nothing.
func unknown() (bytes int, known bool) { return 0, false }

func (c *fairConn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if c.w == len(c.buf) && len(c.buf) < readBuffer { // and all of it is zero
			c.buf = make([]byte, 2*len(c.buf))
			c.r, c.w = 0, 0
		}
		if err := c.awaitTaken(); err != nil {
			return 0, err
		}
		c.takeTurn(len(p))
		if len(p) >= len(c.buf) {
			n, err := c.Conn.Read(p)
			c.more = n == len(p)
			return n, err
		}
		room := min(len(c.buf), max(c.share, len(p)))
		n, err := c.Conn.Read(c.buf[:room])
		c.r, c.w, c.more = 0, n, n == room
		if n == 0 {
			return 0, err
		}
		// An error comes again at the next read.
	}
	n := move(p, c.buf[c.r:c.w])
	clear(c.buf[c.r : c.r+n])
	c.r += n
	return n, nil
}

// takeTurn lets others run, if there is more to read than was. Of a long message that has begun the
// rest, of which so much is wanted, is read without: it starts no further calls.
func (c *fairConn) takeTurn(wanted int) {
	if !c.more || wanted > leastShare {
		return
	}
	began := time.Now()
	runtime.Gosched()
	c.share = shareAfter(c.share, time.Since(began))
}

// shareAfter is what a connection reads at once that read share until then, after its turn was so
// late.
func shareAfter(share int, late time.Duration) int {
	if late > longTurn {
		return max(share/2, leastShare)
	}
	return min(share*2, readBuffer)
}

// awaitTaken waits while the client takes no answers. It returns an error if it is to be given up.
func (c *fairConn) awaitTaken() error {
	writes := c.writes.Load()
	if writes%2 == 0 || writes != c.during {
		c.during, c.reads = writes, 0
		return nil
	}
	if c.reads++; c.reads < stuckReads {
		return nil
	}
	began := time.Now()
	since := began
	last, _ := c.unsent()
	for pause := time.Millisecond; c.writes.Load() == writes; pause = min(2*pause, 50*time.Millisecond) {
		time.Sleep(pause)
		if left, known := c.unsent(); !known || left != last {
			since, last = time.Now(), left
		}
		if time.Since(since) > stuckTimeout {
			return os.ErrDeadlineExceeded
		}
		if since.Sub(began) > trickle {
			return nil
		}
	}
	return nil
}

func (c *fairConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	n, err := c.Conn.Write(p)
	c.writes.Add(1)
	c.written.Add(int64(n))
	return n, err
}
