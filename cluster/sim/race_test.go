//go:build race

package sim

// Under the race detector a seed takes ten times as long; it is a simulation of one
// goroutine each.
const seedsByDefault = 150
