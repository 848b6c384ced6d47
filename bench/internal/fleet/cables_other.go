//go:build !linux

package fleet

import "errors"

var errNotLinux = errors.New("there are network namespaces on Linux only")

type cables struct{ places []place }

// NamespacesWork reports whether nodes can have namespaces here, and why not.
func NamespacesWork() error { return errNotLinux }

func layCables(int) (*cables, error)         { return nil, errNotLinux }
func (*cables) unplug(int, bool, bool) error { return errNotLinux }
func (*cables) plug(int) error               { return errNotLinux }
func (*cables) remove() error                { return errNotLinux }
