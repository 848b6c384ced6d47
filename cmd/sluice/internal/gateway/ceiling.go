package gateway

import (
	"net/http"
	"sync"
	"time"
)

// A ceiling ends an exchange that takes too long. It ends the call of the
// upstream, and also what a canceled context does not reach: a client that stops
// in the middle of its upload, or stops reading the response, and so would keep
// the run's slot for ever.
type ceiling struct {
	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	lifted bool
	hit    bool
	at     time.Time
	client *http.ResponseController
}

// answerPatience is how long the client has, at the ceiling, to make room for the
// answer, which is small.
const answerPatience = time.Second

// set lets end be called after d, unless the ceiling is lifted before.
func (c *ceiling) set(d time.Duration, client *http.ResponseController, end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.client = time.Now().Add(d), client
	c.timer = time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.lifted {
			return // the connection may be another request's already
		}
		c.hit = true
		end()
		now := time.Now()
		_ = client.SetReadDeadline(now)
		_ = client.SetWriteDeadline(now.Add(answerPatience))
	})
}

// lift takes the ceiling away.
func (c *ceiling) lift() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifted = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// boundLastBytes gives the client what was left of a ceiling that was lifted, and
// answerPatience at least, to make room for the end of its response.
func (c *ceiling) boundLastBytes(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hit {
		return // it has its deadline
	}
	deadline := now.Add(answerPatience)
	if c.at.After(deadline) {
		deadline = c.at
	}
	_ = c.client.SetWriteDeadline(deadline) // net/http lifts it for the next request
}

// reached reports whether the ceiling has ended the exchange.
func (c *ceiling) reached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hit
}
