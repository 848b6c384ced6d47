package fleet

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below those that systems give to outgoing connections, so that none
// of these takes the port of a node that is down for a moment.
const (
	firstPort = 20_000
	lastPort  = 30_000
)

// loopback finds places for so many nodes on 127.0.0.1.
func loopback(nodes int) ([]place, error) {
	places := make([]place, nodes)
	port := firstPort + rand.IntN(lastPort-firstPort)
	tries := 0
	free := func() (string, error) {
		for ; tries < lastPort-firstPort; tries++ {
			if port++; port >= lastPort {
				port = firstPort
			}
			address := fmt.Sprintf("127.0.0.1:%d", port)
			if isFree(address) {
				return address, nil
			}
		}
		return "", fmt.Errorf("no port from %d to %d is free on 127.0.0.1", firstPort, lastPort)
	}
	for i := range places {
		for _, address := range []*string{&places[i].grpc, &places[i].admin, &places[i].peer, &places[i].gossip} {
			var err error
			if *address, err = free(); err != nil {
				return nil, err
			}
		}
	}
	return places, nil
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
