package kube

import (
	"net/netip"
	"strings"
)

// Services of the pods, and where in DNS they are.
const (
	Service = "sluice"        // lists pods that are ready
	Gossip  = "sluice-gossip" // lists all, as publishNotReadyAddresses does
	Domain  = "rehearsal.svc.cluster.local."
)

// Search is what resolv.conf of a pod searches.
const Search = "rehearsal.svc.cluster.local svc.cluster.local cluster.local"

// Resolve returns the addresses of a name that ends with a dot: a Service's, or a pod's below it.
func Resolve(all []Endpoint, name string) (addresses []netip.Addr, exists bool) {
	name, ours := strings.CutSuffix(name, "."+Domain)
	if !ours {
		return nil, false
	}
	pod, service, below := strings.Cut(name, ".")
	if !below {
		pod, service = "", name
	}
	if service != Service && service != Gossip {
		return nil, false
	}
	for _, e := range all {
		if (pod == "" || e.Pod == pod) && (service == Gossip || e.Serving) {
			addresses = append(addresses, e.Address)
		}
	}
	return addresses, pod == "" || len(addresses) > 0
}
