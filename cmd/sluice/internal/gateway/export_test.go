package gateway

import "time"

// SetDrain sets how long requests may go on once Serve is told to stop.
func (g *Gateway) SetDrain(d time.Duration) { g.drainFor = d }

// SetPatience sets how long a client may go on sending its body behind its answer.
func (g *Gateway) SetPatience(d time.Duration) { g.patience = d }
