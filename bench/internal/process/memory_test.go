package process

import (
	"strings"
	"testing"
)

const status = `Name:	VmRSS: 1 kB
State:	S (sleeping)
VmPeak:	 1236000 kB
VmHWM:	   40960 kB
VmRSS:	   34816 kB
RssAnon:	   20000 kB
Threads:	9
`

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte(status))
	if want := (Memory{Resident: 34 << 20, Peak: 40 << 20}); err != nil || got != want {
		t.Errorf("parseStatus = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseStatusLacksField(t *testing.T) {
	for _, name := range []string{"VmRSS", "VmHWM"} {
		_, err := parseStatus([]byte(strings.ReplaceAll(status, "\n"+name, "\nGone")))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error %v, want one that names it", name, err)
		}
	}
}
