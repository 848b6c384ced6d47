package sandbox

import (
	"net/netip"
	"testing"
)

func TestNoAddressIsGivenTwice(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for n := 1; n <= places; n++ {
		a, err := nth(netip.AddrFrom4([4]byte{127, 18, 0, 0}), n)
		if b := a.As4(); err != nil || seen[a] || b[0] != 127 || b[1] != 18 || b[3] == 0 || b[3] > 250 {
			t.Fatalf("%d: %v, %v", n, a, err)
		}
		seen[a] = true
	}
	if a, err := nth(netip.Addr{}, places+1); err == nil {
		t.Errorf("one too many is %v", a)
	}
}
