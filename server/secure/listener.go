package secure

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limit returns a listener whose connections are at most so many at a time: one too many is
// closed at once, so that its caller may turn elsewhere, and logged now and then.
func Limit(lis net.Listener, most int, log *slog.Logger) net.Listener {
	return &limited{Listener: lis, most: int64(most), log: log}
}

type limited struct {
	net.Listener
	most int64
	log  *slog.Logger
	open atomic.Int64
	told time.Time // Accept's
}

// complainEvery is how often a full port is logged.
const complainEvery = 10 * time.Second

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &counted{Conn: c, open: &l.open}, nil
		}
		l.open.Add(-1)
		if now := time.Now(); now.Sub(l.told) >= complainEvery {
			l.told = now
			l.log.Warn("a port has all the connections that it may have: more are closed", "address", l.Addr().String(), "connections", l.most)
		}
		_ = c.Close()
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// CloseWrite says that nothing more comes. net/http does so after it has refused a request of which it has
// not read all: closed at once, the connection would take the refusal along.
func (c *counted) CloseWrite() error {
	of, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("a %T has no end of its own for what is written", c.Conn)
	}
	return of.CloseWrite()
}

// SyscallConn lets the system be asked about the connection, as how much of it its client has not
// received.
func (c *counted) SyscallConn() (syscall.RawConn, error) {
	of, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no connection of the system", c.Conn)
	}
	return of.SyscallConn()
}
