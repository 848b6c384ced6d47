//go:build !linux

package rpc

import "net"

// unsentOf returns what tells how many bytes of a connection its client has not received: nothing.
func unsentOf(net.Conn) func() (bytes int, known bool) { return unknown }
