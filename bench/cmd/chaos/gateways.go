package main

import (
	"errors"
	"strings"
	"time"

	"github.com/overten/sluice/bench/internal/gateway"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Groups of gateways. Each has keys of its own, so that what one group's time-outs leave
// uncounted or counted twice does not blur what the other finds.
const (
	patient   = iota // with a deadline of 5 s
	impatient        // with a deadline of 50 ms
	groups
)

// deadlines of the groups' calls, with all their tries.
var deadlines = [groups]time.Duration{patient: 5 * time.Second, impatient: 50 * time.Millisecond}

// openGateways returns two of each group: one with the Go client and one without.
func (s *stage) openGateways(addresses []string) (all [][]gateway.Gateway, err error) {
	for group, deadline := range deadlines {
		aware, err := s.OpenAware(strings.Join(addresses, ","), group, deadline)
		if err != nil {
			return all, errors.Join(err, gateway.CloseAll(all))
		}
		all = append(all, []gateway.Gateway{aware})
		circle, err := gateway.Dial(addresses)
		if err != nil {
			return all, errors.Join(err, gateway.CloseAll(all))
		}
		all[group] = append(all[group], s.OpenPlain(circle, group, deadline))
	}
	return all, nil
}

// admins are the operators' services of the nodes that answer.
func (s *stage) admins() (all []adminv1.AdminServiceClient) {
	for _, n := range s.fleet.Answering() {
		all = append(all, n.Admin())
	}
	return all
}
