// Package nameserver is a small DNS server for one zone, as a cluster's is for its Services: it
// gives the IPv4 addresses of names, and to whom it is told to, late or wrong ones.
package nameserver

import (
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A Zone returns the addresses of a name, in lower case with its final dot, and whether there is
// such a name.
type Zone func(name string) (addresses []netip.Addr, exists bool)

// A Trouble is what is wrong with answers. The zero value is none.
type Trouble struct {
	Delay time.Duration     // they come so late
	Fail  bool              // SERVFAIL
	Empty bool              // no error, and no address
	Stale []netip.Addr      // these instead of the addresses of a name that exists
	Until time.Time         // when it is over; zero: never
	Names func(string) bool // that are concerned; nil: all
}

// at returns the trouble that there is at a time with a name.
func (t Trouble) at(now time.Time, name string) Trouble {
	if !t.Until.IsZero() && !now.Before(t.Until) || t.Names != nil && !t.Names(name) {
		return Trouble{}
	}
	return t
}

// ttl is what is told of how long an answer holds, in seconds, as CoreDNS does.
const ttl = 5

// question reads what is asked.
func question(query []byte) (dnsmessage.Header, dnsmessage.Question, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return h, dnsmessage.Question{}, err
	}
	q, err := p.Question()
	return h, q, err
}

// answer returns the reply to a question. A datagram holds some thirty addresses; there is no TCP.
func answer(h dnsmessage.Header, q dnsmessage.Question, zone Zone, trouble Trouble) ([]byte, error) {
	addresses, exists := zone(strings.ToLower(q.Name.String()))
	reply := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	switch {
	case trouble.Fail:
		reply.RCode, addresses = dnsmessage.RCodeServerFailure, nil
	case !exists:
		reply.RCode, addresses = dnsmessage.RCodeNameError, nil
	case trouble.Empty:
		addresses = nil
	case trouble.Stale != nil:
		addresses = trouble.Stale
	}
	b := dnsmessage.NewBuilder(nil, reply)
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	if q.Type != dnsmessage.TypeA || q.Class != dnsmessage.ClassINET {
		return b.Finish() // the name may exist, but has nothing of that type
	}
	for _, a := range addresses {
		head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
		if err := b.AResource(head, dnsmessage.AResource{A: a.As4()}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
