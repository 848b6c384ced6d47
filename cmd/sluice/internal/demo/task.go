package demo

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/contract"
)

const (
	maxTasks = 1000 // running at a time, and remembered in all
	leaseTTL = client.DefaultTTL
)

// tasks are the tasks of one upstream, the newest maxTasks of them.
type tasks struct {
	leases  Leases
	ctx     context.Context // ends when the upstream is closed
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	running int
	byID    map[string]*task
	order   []*task // oldest first
}

func newTasks(leases Leases) *tasks {
	ctx, stop := context.WithCancel(context.Background())
	return &tasks{leases: leases, ctx: ctx, stop: stop, byID: map[string]*task{}}
}

// start starts a task for j that holds the lease with this id, if it is not
// empty. nil: there are too many.
func (ts *tasks) start(j job, leaseID string) *task {
	t := newTask()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed || ts.running == maxTasks {
		return nil
	}
	ts.running++
	ts.byID[t.id] = t
	ts.order = append(ts.order, t)
	if len(ts.order) > maxTasks {
		delete(ts.byID, ts.order[0].id)
		ts.order = ts.order[1:]
	}
	ts.workers.Go(func() { ts.work(t, j, leaseID) })
	return t
}

// work is what a worker does with a run: it keeps the lease alive, does the work,
// and frees the slot, however the work ends.
func (ts *tasks) work(t *task, j job, leaseID string) {
	var lease *client.Lease // whose methods do nothing if it stays nil
	if leaseID != "" {
		lease = ts.leases.Attach(leaseID, leaseTTL)
	}
	timer := time.NewTimer(j.takes())
	defer timer.Stop()
	outcome := j.outcome()
	select {
	case <-timer.C:
	case <-lease.Lost():
		outcome = &contract.Error{Code: contract.InternalError, Message: "The run lost its slot."}
	case <-ts.ctx.Done():
		outcome = &contract.Error{Code: contract.ServiceUnavailable}
	}
	_ = lease.Release(context.Background()) // at worst the lease expires
	t.finish(outcome)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.running--
}

func (ts *tasks) find(id string) *task {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.byID[id]
}

func (ts *tasks) close() {
	ts.mu.Lock()
	ts.closed = true
	ts.mu.Unlock()
	ts.stop()
	ts.workers.Wait()
}

// A task is one run, also if somebody waits for its answer.
type task struct {
	id, runID string
	begun     time.Time

	mu      sync.Mutex // guards what follows
	done    bool
	took    time.Duration
	outcome *contract.Error // nil: it succeeded
}

func newTask() *task {
	return &task{id: newID("task"), runID: newID("run"), begun: time.Now()}
}

func (t *task) finish(outcome *contract.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.took, t.outcome = true, time.Since(t.begun), outcome
}

// A report is what a client is told of a task, unless it failed: that has a shape
// of its own in the contract.
type report struct {
	TaskID      string  `json:"task_id"`
	RunID       string  `json:"run_id"`
	Status      string  `json:"status"` // running or succeeded
	CreditsUsed *uint64 `json:"credits_used,omitempty"`
	DurationMS  *int64  `json:"duration_ms,omitempty"`
}

// report returns a report, or a contract.FailedTask.
func (t *task) report() any {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.done:
		return report{TaskID: t.id, RunID: t.runID, Status: "running"}
	case t.outcome != nil:
		return contract.NewFailedTask(t.id, *t.outcome, 0, t.took)
	}
	credits, ms := uint64(1), t.took.Milliseconds()
	return report{TaskID: t.id, RunID: t.runID, Status: "succeeded", CreditsUsed: &credits, DurationMS: &ms}
}

// newID returns a new id, as task_….
func newID(kind string) string { return kind + "_" + strings.ToLower(rand.Text()) }
