package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// maxChecks is what the API takes in one call.
const maxChecks = 100_000

// workPerCheck is by how much longer a node is waited for with each check of a
// batch, before another is asked too: several times what it takes.
const workPerCheck = 10 * time.Microsecond

// A Result is what became of one check of a batch, with the meaning of what
// Check returns.
type Result struct {
	Decision Decision
	Err      error // an *Error, or nil
}

// CheckBatch asks for up to 100,000 decisions at once. Each stands for itself:
// results has one for every check, in the same order. The checks go to the nodes
// that decide them, in a call for each node; those of one call are decided in
// their order. An error means that nothing could be decided at all; it has the
// meaning of Check's error.
func (c *Client) CheckBatch(ctx context.Context, checks []CheckRequest) ([]Result, error) {
	if len(checks) > maxChecks {
		return nil, wrongField(contract.ValidationError, "/checks",
			fmt.Sprintf("has %d checks, may have %d", len(checks), maxChecks))
	}
	b := &batch{
		client: c, ctx: ctx, asked: time.Now(), checks: checks,
		wire: make([]*sluicev1.CheckRequest, len(checks)), results: make([]Result, len(checks)), errs: make([]*Error, len(checks)),
	}
	b.deadline = deadline(ctx, b.asked, c.timeout)
	open := b.prepare()
	for pause := leastPause; len(open) > 0; pause = min(2*pause, mostPause) {
		open = b.round(open)
		if len(open) == 0 || time.Until(b.deadline) <= pause || !sleep(ctx, pause) {
			break
		}
	}
	if b.failed != nil && !b.decided && !c.failsOpen(ctx, b.failed) {
		return nil, b.failed
	}
	for i, e := range b.errs {
		if e != nil {
			b.results[i].Decision, b.results[i].Err = c.undecidedDecision(ctx, e)
		}
	}
	return b.results, nil
}

// A batch is a CheckBatch on its way.
type batch struct {
	client          *Client
	ctx             context.Context
	asked, deadline time.Time
	checks          []CheckRequest
	wire            []*sluicev1.CheckRequest
	results         []Result
	errs            []*Error // why there is no decision; the last reason, if there were several

	mu      sync.Mutex // guards what follows
	decided bool       // a call was answered, or a denial known
	failed  *Error     // of a call
	again   []int      // what a node could not decide
}

// prepare returns the places of the checks that are to be asked for.
func (b *batch) prepare() (open []int) {
	for i := range b.checks {
		if e := b.checks[i].valid(); e != nil {
			e.Message = fmt.Sprintf("/checks/%d%s", i, e.Message)
			b.errs[i] = e
			continue
		}
		if d, ok := b.client.denials.repeat(&b.checks[i], b.asked); ok {
			b.results[i].Decision, b.decided = d, true
			continue
		}
		b.wire[i] = b.checks[i].proto()
		open = append(open, i)
	}
	return open
}

// round asks for the checks at the open places, side by side where nodes differ,
// and returns the places that may be asked for again.
func (b *batch) round(open []int) (again []int) {
	top := b.client.topology.Load()
	parts := map[*node][]int{} // by holder; nil: any node
	for _, i := range open {
		holder := top.holder(top.partition(b.checks[i].Key))
		parts[holder] = append(parts[holder], i)
	}
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() { b.ask(part, top.partition(b.checks[part[0]].Key)) })
	}
	all.Wait()
	again, b.again = b.again, nil
	slices.Sort(again)
	return again
}

// ask gets decisions about the checks at the places of part.
func (b *batch) ask(part []int, partition int) {
	req := &sluicev1.CheckBatchRequest{Checks: make([]*sluicev1.CheckRequest, len(part))}
	for j, i := range part {
		req.Checks[j] = b.wire[i]
	}
	r := route{partition: partition, timeout: time.Until(b.deadline), work: time.Duration(len(part)) * workPerCheck}
	res, e := invoke(b.ctx, b.client, r, sluicev1.RateLimiterServiceClient.CheckBatch, req)
	if e == nil && len(res.GetResults()) != len(part) {
		e = errNoAnswer("CheckBatch")
	}
	b.client.note(b.ctx, e)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e != nil { // all that there is has been tried
		b.failed = e
		for _, i := range part {
			b.errs[i] = e
		}
		return
	}
	b.decided = true
	for j, i := range part {
		result := res.GetResults()[j]
		b.results[i].Decision, b.errs[i] = b.read(i, result)
		if codes.Code(result.GetError().GetCode()) == codes.Unavailable {
			b.again = append(b.again, i)
		}
	}
}

// read returns what r says of the check at place i.
func (b *batch) read(i int, r *sluicev1.CheckResult) (Decision, *Error) {
	if d := r.GetDecision(); d.GetExactness() != 0 {
		out := readDecision(d)
		b.client.denials.note(&b.checks[i], &out, b.asked, time.Now())
		return out, nil
	}
	st := r.GetError()
	if st.GetCode() == 0 {
		return Decision{}, errNoAnswer("CheckBatch")
	}
	e := readStatus(st)
	e.RequestID = RequestID(b.ctx)
	e.Message = inPlace(e.Message, fmt.Sprintf("/checks/%d", i))
	return Decision{}, e
}
