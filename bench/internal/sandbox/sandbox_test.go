package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// probe is how the test's program is told to try namespaces.
const probe = "probe-the-sandbox"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == probe {
		if err := Probe(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestNamespaces(t *testing.T) {
	if err := Works(probe); err != nil {
		t.Skipf("not possible here: %v", err)
	}
}

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
