package peer

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

func TestMain(m *testing.M) {
	if beChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// member is a node in a test: its transport, and what was handed over to it.
type member struct {
	*Transport
	t      testing.TB
	name   string
	addr   string
	log    *logBuffer
	inMsgs atomic.Int64 // messages that its server received

	mu       sync.Mutex
	frames   []*ownership.Frame
	copies   []*ownership.Copying
	relinked []string
	gone     []Address // Addr: the boot
	newer    []uint64
	events   []string
	hold     chan struct{} // nil, or what Frame and Copying wait for
	decide   func(ctx context.Context, calls []*Call, done func(int, Answer))
	leases   []LeaseStatus
	key      KeyStatus
	err      error
}

var origin = time.Now()

func now() limiter.Instant { return limiter.Instant(time.Since(origin) + time.Hour) }

type option func(*Config)

func cluster(fingerprint uint64) option { return func(c *Config) { c.Cluster = fingerprint } }

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	eventually(t, "the address is free", func() bool {
		var err error
		l, err = net.Listen("tcp", addr)
		return err == nil
	})
	return l
}

func start(t testing.TB, name string, boot uint64, options ...option) *member {
	t.Helper()
	return startAt(t, listen(t, "127.0.0.1:0"), name, boot, options...)
}

func startAt(t testing.TB, l net.Listener, name string, boot uint64, options ...option) *member {
	t.Helper()
	m := &member{t: t, name: name, addr: l.Addr().String(), log: new(logBuffer)}
	c := Config{
		Name: name, Listener: l, Cluster: 7, Handler: m, Clock: now,
		Log:           slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ServerOptions: []grpc.ServerOption{grpc.StatsHandler(counter{&m.inMsgs})},
	}
	for _, o := range options {
		o(&c)
	}
	m.Transport = New(c)
	if boot != 0 {
		m.SetBoot(boot)
	}
	t.Cleanup(m.stop)
	return m
}

func (m *member) stop() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		m.t.Errorf("%s: %v", m.name, err)
	}
}

// pair starts two members that are connected both ways.
func pair(t testing.TB) (a, b *member) {
	t.Helper()
	a, b = start(t, "a", 1), start(t, "b", 1)
	meet(t, a, b)
	return a, b
}

func meet(t testing.TB, members ...*member) {
	t.Helper()
	var all []Address
	for _, m := range members {
		all = append(all, Address{m.name, m.addr})
	}
	for _, m := range members {
		m.SetPeers(all)
	}
	for _, m := range members {
		for _, o := range members {
			if m != o {
				eventually(t, m.name+" and "+o.name+" are connected", func() bool { return m.connected(o.name) })
			}
		}
	}
}

// awaits tells whether answers of a node are awaited.
func (m *member) awaits(name string) bool {
	c := m.node(name).caller
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.awaited) > 0
}

// connected tells whether all streams to and from a node are there.
func (m *member) connected(name string) bool {
	n := m.node(name)
	if n == nil {
		return false
	}
	n.caller.mu.Lock()
	asks := n.caller.connected // a moment after its stream counts
	n.caller.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return asks && n.streams >= 2*int(laneKinds)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 10*time.Second, what, ok)
}

func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (m *member) wait() {
	m.mu.Lock()
	hold := m.hold
	m.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

func (m *member) Frame(from string, boot uint64, f *ownership.Frame) {
	m.wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frames = append(m.frames, keptFrame(f))
	m.events = append(m.events, "frame "+from)
}

func (m *member) Copying(from string, boot uint64, c *ownership.Copying) {
	m.wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.copies = append(m.copies, kept(c))
	m.events = append(m.events, "copying "+from)
}

// keptFrame returns a frame that stays as f is now.
func keptFrame(f *ownership.Frame) *ownership.Frame {
	k := *f
	k.Asks, k.Pledges = slices.Clone(f.Asks), slices.Clone(f.Pledges)
	if f.Heartbeat != nil {
		h := *f.Heartbeat
		h.Held = slices.Clone(h.Held)
		k.Heartbeat = &h
	}
	return &k
}

// kept returns a copying that stays as c is now.
func kept(c *ownership.Copying) *ownership.Copying {
	k := *c
	k.Snapshots, k.Deltas, k.Acks = slices.Clone(c.Snapshots), slices.Clone(c.Deltas), slices.Clone(c.Acks)
	for i := range k.Snapshots {
		k.Snapshots[i].State = bytes.Clone(k.Snapshots[i].State)
	}
	for i := range k.Deltas {
		k.Deltas[i].Changes.Bytes = bytes.Clone(k.Deltas[i].Changes.Bytes)
	}
	return &k
}

func (m *member) Relinked(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.relinked = append(m.relinked, name)
}

func (m *member) Gone(name string, boot uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = append(m.gone, Address{name, string(rune('0' + boot))})
	m.events = append(m.events, "gone "+name)
}

func (m *member) Newer(boot uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newer = append(m.newer, boot)
}

func (m *member) Decide(ctx context.Context, calls []*Call, done func(int, Answer)) {
	m.mu.Lock()
	decide := m.decide
	m.mu.Unlock()
	if decide != nil {
		decide(ctx, calls, done)
		return
	}
	for i, c := range calls {
		done(i, Answer{Decision: limiter.Decision{Allowed: true, Exactness: limiter.Exact, Remaining: c.Cost}})
	}
}

func (m *member) Status() NodeStatus { return NodeStatus{Name: m.name, State: Serving, Keys: 12} }

func (m *member) Inspect(ctx context.Context, key limiter.Key, tier string) (KeyStatus, error) {
	return m.key, m.err
}

func (m *member) Leases(ctx context.Context, key *limiter.Key, most int) ([]LeaseStatus, bool, error) {
	return m.leases[:min(most, len(m.leases))], most < len(m.leases), m.err
}

func (m *member) Reset(ctx context.Context, key limiter.Key) (bool, error) {
	return m.err == nil, m.err
}

func (m *member) heardFrames() []*ownership.Frame {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*ownership.Frame(nil), m.frames...)
}

func (m *member) heardCopies() []*ownership.Copying {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*ownership.Copying(nil), m.copies...)
}

func (m *member) heardGone() []Address {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Address(nil), m.gone...)
}

func (m *member) relinks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.relinked)
}

// counter counts messages that a server receives.
type counter struct{ n *atomic.Int64 }

func (c counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c counter) HandleConn(context.Context, stats.ConnStats)                       {}
func (c counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InPayload); ok {
		c.n.Add(1)
	}
}

// logBuffer is a log that a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(s))
}

// A relay is a TCP connection that can be held up: what goes to a node through it.
type relay struct {
	addr string
	l    net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	held  bool
	dead  map[net.Conn]bool // what comes by these goes nowhere
	freed *sync.Cond
	conns []net.Conn
}

func newRelay(t testing.TB, to string) *relay {
	r := &relay{l: listen(t, "127.0.0.1:0")}
	r.addr = r.l.Addr().String()
	r.freed = sync.NewCond(&r.mu)
	r.wg.Go(func() {
		for {
			in, err := r.l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			r.wg.Go(func() { r.copy(in, out) })
			r.wg.Go(func() { r.copy(out, in) })
		}
	})
	t.Cleanup(r.close)
	return r
}

func (r *relay) copy(dst, src net.Conn) {
	defer dst.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := src.Read(b)
		r.mu.Lock()
		for r.held || r.dead[src] && err == nil {
			r.freed.Wait()
		}
		r.mu.Unlock()
		if _, werr := dst.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// kill lets connection i carry nothing any more, and says so to nobody.
func (r *relay) kill(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = map[net.Conn]bool{r.conns[2*i]: true, r.conns[2*i+1]: true}
}

func (r *relay) setHeld(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.freed.Broadcast()
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *relay) close() {
	r.mu.Lock()
	r.dead = nil
	r.mu.Unlock()
	r.l.Close()
	r.setHeld(false)
	r.cut()
	r.wg.Wait()
}
