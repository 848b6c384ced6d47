package rpc

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentOf returns what tells how many bytes of a connection its client has not received.
func unsentOf(c net.Conn) func() (bytes int, known bool) {
	of, ok := c.(syscall.Conn)
	if !ok {
		return unknown
	}
	raw, err := of.SyscallConn()
	if err != nil {
		return unknown
	}
	return func() (bytes int, known bool) {
		err := raw.Control(func(fd uintptr) {
			var err error
			bytes, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			known = err == nil
		})
		return bytes, known && err == nil
	}
}
