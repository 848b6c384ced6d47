//go:build amd64 || arm64

package limiter

// prefetch asks for the line of memory that r is in, and does not wait for it.
//
//go:noescape
func prefetch(r *record)
