//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"time"
)

var errLinux = errors.New("network namespaces are of Linux")

// Run is not possible here.
func Run(context.Context, time.Duration, ...string) error { return errLinux }

// Works returns why not.
func Works(...string) error { return errLinux }

// Probe is not possible here.
func Probe() error { return errLinux }

// Enter is not possible here.
func Enter(string) (*Loopback, error) { return nil, errLinux }
