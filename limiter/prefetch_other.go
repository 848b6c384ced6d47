//go:build !amd64 && !arm64

package limiter

// prefetch does nothing where this program does not know how.
func prefetch(*record) {}
