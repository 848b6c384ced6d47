//go:build !linux

package cluster

import "time"

// suspension cannot be noticed here.
type suspension struct{}

func newSuspension() *suspension { return new(suspension) }

func (*suspension) since() time.Duration { return 0 }
