package kube

import (
	"net/netip"
	"time"
)

// An Endpoint is a pod as a Service sees it.
type Endpoint struct {
	Pod     string
	Address netip.Addr
	Serving bool // it is ready, and not about to end
}

// Endpoints are all pods as they were a while ago, as it takes a while until DNS and proxies
// know what has changed. The zero value is that there are none.
type Endpoints struct {
	Lag time.Duration
	was []published
}

type published struct {
	at  time.Duration
	all []Endpoint
}

// Publish notes that these are all from now on.
func (e *Endpoints) Publish(now time.Duration, all []Endpoint) {
	e.was = append(e.was, published{at: now, all: all})
	for len(e.was) > 1 && e.was[1].at+e.Lag <= now {
		e.was = e.was[1:] // nobody sees it any more
	}
}

// At returns what is known now.
func (e *Endpoints) At(now time.Duration) (all []Endpoint) {
	for _, p := range e.was {
		if p.at+e.Lag <= now {
			all = p.all
		}
	}
	return all
}
