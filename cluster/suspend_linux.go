package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspension notices that the machine slept: the clock that counts sleep then runs ahead of
// the monotonic one, which all decisions go by.
type suspension struct{ ahead time.Duration }

func newSuspension() *suspension { return &suspension{ahead: sleptSinceBoot()} }

// since returns for how long the machine slept since the last call.
func (s *suspension) since() time.Duration {
	now := sleptSinceBoot()
	d := now - s.ahead
	s.ahead = now
	return d
}

func sleptSinceBoot() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
