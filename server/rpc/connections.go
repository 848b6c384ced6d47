package rpc

import (
	"sync"
	"time"
)

// connections are those of a server that are open.
type connections struct {
	mu   sync.Mutex
	open map[*fairConn]struct{}
}

func (s *connections) add(c *fairConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*fairConn]struct{}{}
	}
	s.open[c] = struct{}{}
}

func (s *connections) remove(c *fairConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// all returns how far each has come.
func (s *connections) all() map[*fairConn]taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[*fairConn]taken, len(s.open))
	for c := range s.open {
		now[c] = c.taken()
	}
	return now
}

// closeStuck closes, until done is closed, connections whose clients take nothing at all, for
// givenUp, of what there is for them: a shutdown does not wait for these as long as they might be
// waited for else. It returns how many those were.
func (s *connections) closeStuck(done <-chan struct{}) (closed int) {
	tick := time.NewTicker(givenUp / looks)
	defer tick.Stop()
	stuck := map[*fairConn]int{} // looks that found it as it was, one after the other
	for before := s.all(); ; {
		select {
		case <-done:
			return closed
		case <-tick.C:
		}
		now := s.all()
		for c, is := range now {
			if was, known := before[c]; !known || !was.waits || is != was {
				delete(stuck, c)
			} else if stuck[c]++; stuck[c] == looks {
				_ = c.Close()
				closed++
			}
		}
		before = now
	}
}

// How long a client may take nothing while the server shuts down, and in how many looks: a slow one
// takes what it takes in pieces of a window.
const (
	givenUp = 6 * time.Second
	looks   = 3
)

// taken is how far a client has come with taking answers.
type taken struct {
	waits   bool  // there is something for it to take
	written int64 // bytes
	unsent  int   // of these it has not received so many, as far as that is known
}

func (c *fairConn) taken() taken {
	c.untaken.mu.Lock()
	defer c.untaken.mu.Unlock()
	return c.takenLocked()
}

func (c *fairConn) takenLocked() taken {
	unsent, _ := c.unsent()
	return taken{c.untaken.bytes > 0 || c.writes.Load()%2 == 1, c.written.Load(), unsent}
}

// stuckSince tells whether next to nothing was taken since, of all that there was to take. Of one
// write, which may take a slow client long, what is left of it tells.
func (t taken) stuckSince(now taken) bool {
	return t.waits && now.waits && now.written-t.written < leastProgress && (now.unsent == 0 || now.unsent == t.unsent)
}
