package rpc

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/peer"
)

// Long answers stay in memory until their client takes them, which HTTP/2 lets it put off for as long
// as it likes while it asks for more. So they are counted.
const (
	longAnswer    = 64 << 10  // bytes of memory: shorter ones are not counted, as calls at a time are few
	mostOfOne     = 64 << 20  // that one connection may have untaken,
	mostOfAll     = 256 << 20 // and all of them, but for one answer each
	leastProgress = 16 << 10  // bytes that a client takes in stuckTimeout, or it is given up
)

// untaken is the memory of long answers that a connection has not taken.
type untaken struct {
	all *atomic.Int64 // that of all connections of the server

	mu      sync.Mutex
	bytes   int64
	closed  bool
	watched bool  // a review is due
	last    taken // at the last one
}

// room tells whether there is room for one more.
func (u *untaken) room() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes == 0 || u.bytes < mostOfOne && u.all.Load() < mostOfAll
}

// count notes that so much memory of answers was taken up, or given back.
func (c *fairConn) count(bytes int) {
	u := &c.untaken
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.addLocked(int64(bytes))
	if bytes > 0 && !u.watched {
		u.watched, u.last = true, c.takenLocked()
		time.AfterFunc(stuckTimeout, c.review)
	}
}

func (u *untaken) addLocked(bytes int64) {
	u.bytes += bytes
	u.all.Add(bytes)
}

// review closes a connection that has taken next to nothing since the last, of all that there is to
// take.
func (c *fairConn) review() {
	u := &c.untaken
	u.mu.Lock()
	now := c.takenLocked()
	stuck := u.bytes > 0 && u.last.stuckSince(now)
	u.last, u.watched = now, u.bytes > 0 && !stuck && !u.closed
	if u.watched {
		time.AfterFunc(stuckTimeout, c.review)
	}
	u.mu.Unlock()
	if stuck {
		_ = c.Close()
	}
}

// Close closes the connection. Nothing of it is untaken from then on.
func (c *fairConn) Close() error {
	u := &c.untaken
	u.mu.Lock()
	u.closed = true
	u.addLocked(-u.bytes)
	u.mu.Unlock()
	c.open.remove(c)
	return c.Conn.Close()
}

// counted is the pool that counted answers go back to.
type counted struct{ conn *fairConn }

func (counted) Get(length int) *[]byte { return buffers.Get(length) }

func (p counted) Put(b *[]byte) {
	p.conn.count(-cap(*b))
	buffers.Put(b)
}

// clientAddr is the address of a client, by which its calls find its connection.
type clientAddr struct {
	net.Addr
	conn *fairConn
}

// connOf returns the connection of a call, nil if it came by none.
func connOf(ctx context.Context) *fairConn {
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.Addr.(*clientAddr); ok {
			return a.conn
		}
	}
	return nil
}

// room returns the connection that the answer to a call goes to, or why there is to be none now.
func room(ctx context.Context) (*fairConn, error) {
	c := connOf(ctx)
	if c != nil && !c.untaken.room() {
		return nil, unavailable("the client has not taken the answers that it has")
	}
	return c, nil
}
