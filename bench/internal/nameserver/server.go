package nameserver

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// A Server answers over UDP.
type Server struct {
	conn net.PacketConn
	zone Zone
	over chan struct{}
	all  sync.WaitGroup

	mu       sync.Mutex // guards troubles
	troubles map[netip.Addr]Trouble
}

// Listen answers at an address until Close.
func Listen(address string, zone Zone) (*Server, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{conn: conn, zone: zone, over: make(chan struct{}), troubles: map[netip.Addr]Trouble{}}
	s.all.Go(s.serve)
	return s, nil
}

// Address is where it answers.
func (s *Server) Address() string { return s.conn.LocalAddr().String() }

// Close returns when nothing is answered any more.
func (s *Server) Close() error {
	close(s.over)
	err := s.conn.Close()
	s.all.Wait()
	return err
}

// Trouble lets whoever asks from an address have a trouble, in place of the one before.
func (s *Server) Trouble(from netip.Addr, t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles[from] = t
}

func (s *Server) troubleOf(from netip.Addr) Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.troubles[from]
}

func (s *Server) serve() {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if err != nil {
			select {
			case <-s.over:
				return
			default: // of one datagram: whoever sent it asks again
				continue
			}
		}
		query := append([]byte(nil), buffer[:n]...)
		s.all.Go(func() { s.reply(query, from) })
	}
}

// reply answers one query, if it can be understood.
func (s *Server) reply(query []byte, to net.Addr) {
	h, q, err := question(query)
	if err != nil || h.Response {
		return
	}
	var from netip.Addr
	if udp, ok := to.(*net.UDPAddr); ok {
		from = udp.AddrPort().Addr().Unmap()
	}
	trouble := s.troubleOf(from).at(time.Now(), q.Name.String())
	select {
	case <-s.over:
		return
	case <-time.After(trouble.Delay):
	}
	if b, err := answer(h, q, s.zone, trouble); err == nil {
		_, _ = s.conn.WriteTo(b, to)
	}
}
