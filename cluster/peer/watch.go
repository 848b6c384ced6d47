package peer

import (
	"sync"
	"time"
)

// A watch calls cut when nothing was heard for so long. It counts in steps, so
// that a process that was stopped for long hears what has come before it judges.
type watch struct {
	most time.Duration
	cut  func()

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	listens bool // and is not busy with what it heard
	steps   int  // of listening in vain
	over    bool
}

const silentSteps = 6

func newWatch(most time.Duration, cut func()) *watch {
	w := &watch{most: most, cut: cut}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(most/silentSteps, w.step)
	return w
}

func (w *watch) step() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if w.listens {
		w.steps++
	}
	if w.steps > silentSteps {
		w.over = true
		w.cut()
		return
	}
	w.timer.Reset(w.most / silentSteps)
}

// waiting tells whether the reader listens from now on. A nil watch does not care.
func (w *watch) waiting(listens bool) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listens, w.steps = listens, 0
}

func (w *watch) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}
