// Package slack lets the system wake this process a moment late.
//
// Go's runtime has a thread that looks after the others: while there is work it sleeps for 20 µs
// at a time, and takes the processor from whoever has been in a system call for so long. With
// exact timers that alone is up to a tenth of what a busy node costs, and more where nodes share
// processors: a call that was only interrupted loses its place, and a thread has to be woken
// twice. The system may let each of these sleeps, as all others, last longer by the slack of the
// thread. No decision depends on it: they go by the clock, and never by when a timer ended.
package slack

import "time"

// Most is how late a timer of this process may be: far below the times within which nodes hear
// of each other, and with the pause before changes are copied well below the 10 ms for which
// a change may wait.
const Most = 2 * time.Millisecond
