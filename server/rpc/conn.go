package rpc

import "net"

// A wipingListener accepts connections that keep no byte once it was read: what they
// buffer holds API keys. The server must read from them without a buffer of its own.
type wipingListener struct{ net.Listener }

func (l wipingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wipingConn{Conn: c, buf: make([]byte, firstBuffer)}, nil
}

// An idle connection keeps a small buffer; one that fills it gets one twice as large.
const (
	firstBuffer = 1 << 10
	readBuffer  = 32 << 10
)

// wipingConn is a buffered reader on a connection. Reads come from one goroutine at a
// time, as grpc does.
type wipingConn struct {
	net.Conn
	buf  []byte
	r, w int // buf[r:w] was not read yet; all else is zero
}

func (c *wipingConn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if c.w == len(c.buf) && len(c.buf) < readBuffer { // and all of it is zero
			c.buf = make([]byte, 2*len(c.buf))
			c.r, c.w = 0, 0
		}
		if len(p) >= len(c.buf) {
			return c.Conn.Read(p)
		}
		n, err := c.Conn.Read(c.buf)
		c.r, c.w = 0, n
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
