package peer

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// Times of connections.
const (
	dialTimeout = 500 * time.Millisecond
	firstPause  = 20 * time.Millisecond // between two tries, after one that is made at once
	lastPause   = 500 * time.Millisecond
	steady      = time.Second     // a stream that lasted so long begins anew at once
	greetMost   = 3 * time.Second // until a node has said hello
)

// A stream says every sign that it lives, if nothing else; one that is silent for so long begins
// anew: without frames all streams of the node, as it is lost to us; without copies or answers
// their own, which may have been lost on the way while the others are not.
var (
	sign    = [laneKinds]time.Duration{frameLane: time.Second, copyLane: 250 * time.Millisecond, callLane: 250 * time.Millisecond}
	silence = [laneKinds]time.Duration{frameLane: 3 * time.Second, copyLane: time.Second, callLane: time.Second}
)

// laneKind is what a stream carries.
type laneKind int

const (
	frameLane laneKind = iota
	copyLane
	callLane
	laneKinds
)

func (k laneKind) String() string { return [...]string{"frames", "copies", "calls"}[k] }

// A lane keeps one stream to a node open, on a connection of its own.
type lane struct {
	node *node
	kind laneKind
	kick chan struct{} // do not wait until the next try
	done chan struct{} // closed when the last run has ended; guarded by node.mu

	mu     sync.Mutex // guards cancel
	cancel context.CancelFunc
}

func (l *lane) rouse() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// cut ends the stream that there is.
func (l *lane) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// run connects to addr again and again.
func (l *lane) run(ctx context.Context, addr string) {
	pause := time.Duration(0)
	kick := l.kick
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-kick:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		reached, err := l.visit(ctx, addr)
		if ctx.Err() != nil {
			return
		}
		l.node.t.complain(l, addr, err)
		lasted := time.Since(began) > steady+dialTimeout
		if lasted {
			pause = 0
		}
		// Whoever can be reached and ends the stream at once is not to be asked again at once,
		// whatever happens meanwhile: it may be that which makes it happen.
		kick = l.kick
		if reached && !lasted {
			kick = nil
		}
		wait.Reset(pause)
		pause = min(max(2*pause, firstPause), lastPause)
	}
}

// visit connects once, and returns when the stream has ended, and whether the node was reached.
func (l *lane) visit(ctx context.Context, addr string) (reached bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.cancel = cancel
	l.mu.Unlock()

	state := l.node.state()
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		l.node.refused(addr, state, err)
		return false, err
	}
	conn, err := l.node.t.wrap(raw, addr)
	if err != nil {
		raw.Close()
		return true, err
	}
	defer raw.Close() // in case it was not taken
	defer conn.Close()
	// Nobody may take longer than that to say hello.
	patience := time.AfterFunc(greetMost, cancel)
	defer patience.Stop()
	greeted := func(h *peerv1.Hello) (boot uint64, w *watch, err error) {
		if !patience.Stop() {
			return 0, nil, context.DeadlineExceeded
		}
		if boot, err = l.met(h, addr); err == nil && (h.GetSigns() || l.kind == frameLane) {
			w = newWatch(silence[l.kind], l.silent)
		}
		return boot, w, err
	}
	client := peerv1.NewPeerServiceClient(conn)
	switch l.kind {
	case frameLane:
		err = l.frames(ctx, client, greeted)
	case copyLane:
		err = l.copies(ctx, client, greeted)
	default:
		err = l.calls(ctx, conn, client, greeted)
	}
	return true, err
}

var errUsed = errors.New("the connection has ended")

// wrap makes a gRPC connection of raw, and of nothing else: when raw ends, so does it.
func (t *Transport) wrap(raw net.Conn, addr string) (*grpc.ClientConn, error) {
	first := make(chan net.Conn, 1)
	first <- raw
	options := []grpc.DialOption{
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-first:
				return c, nil
			default:
				return nil, errUsed
			}
		}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}
	if len(t.DialOptions) == 0 {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	return grpc.NewClient("passthrough:///"+addr, append(options, t.DialOptions...)...)
}

// met judges the hello of whom we called, and counts the stream.
func (l *lane) met(h *peerv1.Hello, addr string) (boot uint64, err error) {
	n := l.node
	if h != nil && h.GetName() != n.name {
		return 0, errors.New("at its address is node " + short(h.GetName()))
	}
	older, err := n.t.greet(h)
	switch {
	case err != nil:
		return 0, errors.New(status.Convert(err).Message())
	case older || !n.begin(h.GetBoot(), addr):
		return 0, errOlder
	}
	return h.GetBoot(), nil
}

var errOlder = errors.New("an earlier life of the node answers there")

// greeting takes the hello of whom we called. From then on its stream is watched, unless it
// is of a version that does not sign there.
type greeting func(*peerv1.Hello) (boot uint64, w *watch, err error)

// silent gives up a stream that nothing was heard on.
func (l *lane) silent() {
	if l.kind == frameLane {
		l.node.cut()
		return
	}
	l.cut()
}

// letters is a stream of posts that we receive.
type letters interface{ RecvMsg(m any) error }

func (l *lane) frames(ctx context.Context, client peerv1.PeerServiceClient, greeted greeting) error {
	n := l.node
	stream, err := client.Frames(ctx, &peerv1.FramesRequest{Hello: n.t.hello(n.name)})
	if err != nil {
		return err
	}
	var letters frames
	return l.read(stream, greeted, func(boot uint64, b []byte) error {
		f, err := letters.decode(b)
		if err == nil {
			n.t.Handler.Frame(n.name, boot, f)
		}
		return err
	})
}

func (l *lane) copies(ctx context.Context, client peerv1.PeerServiceClient, greeted greeting) error {
	n := l.node
	stream, err := client.Copies(ctx, &peerv1.CopiesRequest{Hello: n.t.hello(n.name)})
	if err != nil {
		return err
	}
	var letters copyings
	return l.read(stream, greeted, func(boot uint64, b []byte) error {
		c, err := letters.decode(b)
		if err == nil {
			n.t.Handler.Copying(n.name, boot, c)
		}
		letters.forget()
		return err
	})
}

// read hands over letters until the stream ends.
func (l *lane) read(stream letters, greeted greeting, deliver func(boot uint64, letter []byte) error) error {
	p := new(post)
	if err := stream.RecvMsg(p); err != nil {
		return err
	}
	hello := p.hello
	p.done()
	boot, w, err := greeted(hello)
	if err != nil {
		return err
	}
	defer l.node.end(boot)
	defer w.stop()
	r := reader{deliver: func(letter []byte) error { return deliver(boot, letter) }}
	for {
		w.waiting(true)
		err := stream.RecvMsg(p)
		w.waiting(false)
		if err != nil {
			return err
		}
		err = r.take(p)
		p.done()
		if err != nil {
			return err
		}
	}
}
