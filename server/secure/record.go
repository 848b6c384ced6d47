package secure

import (
	"crypto/tls"
	"encoding/binary"
	"net"
)

// A recordConn lets crypto/tls read one record at a time, and overwrites each when the next
// is asked for. crypto/tls decrypts a record where it was read to, and would leave the plain
// text, which may be an API key, there until another comes.
//
// It relies on what crypto/tls does: that it asks for the next header only when all of the
// record before was taken. Were that to change, connections would break at once.
type recordConn struct {
	net.Conn
	header [recordHeader]byte
	have   int      // bytes of the header that were read
	left   int      // bytes of the record's body that were not read yet
	filled [][]byte // where the body was read to
}

const recordHeader = 5

// Read reads no further than the end of the header, or of the body.
func (c *recordConn) Read(p []byte) (int, error) {
	if c.left > 0 {
		n, err := c.Conn.Read(p[:min(len(p), c.left)])
		c.left -= n
		c.filled = append(c.filled, p[:n])
		return n, err
	}
	if c.have == 0 {
		c.wipe()
	}
	n, err := c.Conn.Read(p[:min(len(p), recordHeader-c.have)])
	copy(c.header[c.have:], p[:n])
	if c.have += n; c.have == recordHeader {
		c.have, c.left = 0, int(binary.BigEndian.Uint16(c.header[3:]))
	}
	return n, err
}

func (c *recordConn) wipe() {
	for i, b := range c.filled {
		clear(b)
		c.filled[i] = nil
	}
	c.filled = c.filled[:0]
}

// Server makes a TLS connection of one that a caller opened; the guard's port must be
// encrypted. It keeps nothing of what was read.
func (g *Guard) Server(raw net.Conn) *tls.Conn { return tls.Server(&recordConn{Conn: raw}, g.TLS()) }
