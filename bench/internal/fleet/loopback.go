package fleet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports are taken from below those that systems give to outgoing connections, so that none
// of these takes the port of a node that is down for a moment.
const (
	firstPort = 20_000
	lastPort  = 30_000
)

// loopback finds places for so many nodes on 127.0.0.1.
func loopback(nodes int) ([]place, error) {
	free, err := FreeAddresses(4 * nodes)
	if err != nil {
		return nil, err
	}
	places := make([]place, nodes)
	for i := range places {
		of := free[4*i:]
		places[i] = place{grpc: of[0], admin: of[1], peer: of[2], gossip: of[3]}
	}
	return places, nil
}

// given counts the ports that this process was given or found taken. It begins somewhere, as
// other processes look for ports too.
var given atomic.Uint32

func init() { given.Store(rand.Uint32N(lastPort - firstPort)) }

// FreeAddresses finds so many addresses on 127.0.0.1 that can be listened on. None is given
// twice before all were: that a node is to listen there later keeps it from nobody else.
func FreeAddresses(n int) (free []string, err error) {
	for range lastPort - firstPort {
		if len(free) == n {
			break
		}
		port := firstPort + given.Add(1)%(lastPort-firstPort)
		if address := fmt.Sprintf("127.0.0.1:%d", port); isFree(address) {
			free = append(free, address)
		}
	}
	if len(free) < n {
		return nil, fmt.Errorf("fewer than %d ports from %d to %d are free on 127.0.0.1", n, firstPort, lastPort)
	}
	return free, nil
}

// isFree reports whether an address can be listened on, by TCP and by UDP.
func isFree(address string) bool {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}
