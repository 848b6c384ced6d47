package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// A session is a stream that another node opened to us.
type session struct {
	out  *outbox // nil: of calls
	over chan struct{}

	mu  sync.Mutex // guards err
	err error      // why over is closed
}

var (
	errAnew   = status.Error(codes.Aborted, "the node begins its streams anew")
	errNewer  = status.Error(codes.Aborted, "the node has opened another such stream")
	errEarly  = status.Error(codes.FailedPrecondition, "there is a later life of the same name")
	errUnborn = status.Error(codes.Unavailable, "the node is starting")
)

// end lets the session end.
func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.over)
	}
}

func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// session returns the open session of a kind, or nil.
func (n *node) session(kind laneKind) *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions[kind]
}

// open begins a session that hello asks for. send is to send our hello.
func (t *Transport) open(kind laneKind, h *peerv1.Hello, send func(*peerv1.Hello) error) (*node, *session, error) {
	t.mu.Lock()
	unborn := t.boot == 0 || t.over
	t.mu.Unlock()
	if unborn {
		return nil, nil, errUnborn
	}
	older, err := t.greet(h)
	if err != nil {
		t.journal.warn("a node is refused", short(h.GetName()), status.Convert(err).Message())
		return nil, nil, err
	}
	ours := t.hello(h.GetName())
	if err := send(ours); err != nil {
		return nil, nil, err
	}
	s := &session{over: make(chan struct{})}
	if kind != callLane {
		s.out = newOutbox()
	}
	t.mu.Lock()
	if t.boot != ours.GetBoot() { // it rose meanwhile: who was told the former would take us for an earlier life
		t.mu.Unlock()
		return nil, nil, errAnew
	}
	n := t.nodeLocked(h.GetName())
	begun := !older && n.begin(h.GetBoot(), "")
	if begun {
		n.mu.Lock()
		if old := n.sessions[kind]; old != nil {
			old.end(errNewer)
		}
		n.sessions[kind] = s
		n.mu.Unlock()
	}
	t.mu.Unlock()
	if !begun {
		t.prune(n)
		return nil, nil, errEarly
	}
	n.rouse() // it can be reached, it seems
	return n, s, nil
}

// shut ends a session that open began.
func (t *Transport) shut(n *node, kind laneKind, s *session, boot uint64) {
	n.mu.Lock()
	if n.sessions[kind] == s {
		n.sessions[kind] = nil
	}
	n.mu.Unlock()
	n.end(boot)
	t.prune(n)
}

// service answers other nodes.
type service struct {
	peerv1.UnimplementedPeerServiceServer
	t *Transport
}

// Frames sends the caller our frames.
func (s *service) Frames(req *peerv1.FramesRequest, stream grpc.ServerStreamingServer[peerv1.FramesResponse]) error {
	return s.t.letters(frameLane, req.GetHello(), stream)
}

// Copies sends the caller our copies.
func (s *service) Copies(req *peerv1.CopiesRequest, stream grpc.ServerStreamingServer[peerv1.CopiesResponse]) error {
	return s.t.letters(copyLane, req.GetHello(), stream)
}

// poster is a stream of posts that we send.
type poster interface {
	SendMsg(m any) error
	Context() context.Context
}

// letters sends what is queued for the caller until the stream ends.
func (t *Transport) letters(kind laneKind, h *peerv1.Hello, stream poster) error {
	n, s, err := t.open(kind, h, func(ours *peerv1.Hello) error { return stream.SendMsg(&post{hello: ours}) })
	if err != nil {
		return err
	}
	defer t.shut(n, kind, s, h.GetBoot())
	if kind == copyLane {
		t.Handler.Relinked(n.name)
	}
	w := writer{
		out: s.out, ordered: kind == copyLane,
		send:    func(p *post) error { return stream.SendMsg(p) },
		dropped: func() { t.journal.warn("a node does not keep up: letters to it were dropped", n.name, kind.String()) },
	}
	signs := time.NewTicker(sign[kind])
	defer signs.Stop()
	for {
		select {
		case <-s.out.wake:
		case <-signs.C:
			if err := w.send(new(post)); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-s.over:
			return s.reason()
		case <-t.closing:
			return w.drain()
		}
		if err := w.drain(); err != nil {
			return t.failed(n, err)
		}
	}
}

// failed says why a stream of letters ended, and logs it if the fault is here.
func (t *Transport) failed(n *node, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if !errors.Is(err, errOverflow) {
		t.journal.warn("a letter cannot be encoded", n.name, err.Error())
	}
	return status.Error(codes.Aborted, err.Error())
}
