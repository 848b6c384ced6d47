package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// enemies are strangers at work.
type enemies struct {
	at      string
	ctx     context.Context
	working sync.WaitGroup

	idle, slow, lost        atomic.Int64
	garbage, headers, unmet atomic.Int64
}

// assail sets strangers on a node: when it returns the idle ones are connected. They end with
// ctx.
func assail(ctx context.Context, at string, o options) (*enemies, error) {
	e := &enemies{at: at, ctx: ctx}
	for range o.idle {
		c, err := e.greet()
		if err != nil {
			return nil, fmt.Errorf("after %d idle connections: %w", e.idle.Load(), err)
		}
		e.idle.Add(1)
		e.working.Go(func() { e.wait(c) })
	}
	for range o.slow {
		e.working.Go(e.askAndNeverRead)
	}
	e.working.Go(func() { e.every(time.Second/time.Duration(o.garbage), e.talkGarbage) })
	e.working.Go(func() { e.every(20*time.Millisecond, e.sendHeaders) })
	return e, nil
}

// end waits until all are gone, and tells what they did.
func (e *enemies) end() string {
	e.working.Wait()
	return fmt.Sprintf("enemies  %d idle connections, of which the node closed %d; %d clients that never read; %d connections with garbage, %d with oversized headers; %d did not come to be",
		e.idle.Load(), e.lost.Load(), e.slow.Load(), e.garbage.Load(), e.headers.Load(), e.unmet.Load())
}

func (e *enemies) dial() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", e.at, 5*time.Second)
	if err != nil {
		e.unmet.Add(1)
		return nil, err
	}
	context.AfterFunc(e.ctx, func() { _ = c.Close() })
	return c, nil
}

// greet connects as a client of gRPC does.
func (e *enemies) greet() (net.Conn, error) {
	c, err := e.dial()
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return nil, err
	}
	return c, http2.NewFramer(c, nil).WriteSettings()
}

// wait reads what the node says, and answers nothing.
func (e *enemies) wait(c net.Conn) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
	if e.ctx.Err() == nil {
		e.lost.Add(1)
	}
}

// askAndNeverRead asks until the node takes no more, as no answer is read, and stays there. It
// begins anew when the node has given it up.
func (e *enemies) askAndNeverRead() {
	const most = 20_000 // calls: above what a connection may have at a time
	body := []byte{0, 0, 0, 0, 6, 0x0a, 4, 's', 'l', 'o', 'w'}
	for e.ctx.Err() == nil {
		c, err := e.greet()
		if err != nil {
			return
		}
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		e.slow.Add(1)
		framer := http2.NewFramer(c, nil)
		for id := uint32(1); err == nil && id < 2*most; id += 2 {
			_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
			if err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header(0), EndHeaders: true}); err == nil {
				err = framer.WriteData(id, true, body)
			}
		}
		for err == nil { // whether it is still there shows in writing
			select {
			case <-e.ctx.Done():
			case <-time.After(time.Second):
			}
			_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
			err = framer.WriteSettingsAck()
		}
		_ = c.Close()
	}
}

// talkGarbage sends what no protocol knows.
func (e *enemies) talkGarbage() {
	c, err := e.dial()
	if err != nil {
		return
	}
	defer c.Close()
	e.garbage.Add(1)
	b := make([]byte, 512)
	_, _ = rand.Read(b)
	_, _ = c.Write(b)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c)
}

// sendHeaders sends a header as large as a frame, in frame after frame that continue it.
func (e *enemies) sendHeaders() {
	c, err := e.greet()
	if err != nil {
		return
	}
	defer c.Close()
	e.headers.Add(1)
	framer := http2.NewFramer(c, nil)
	block := header(12 << 10)
	_ = c.SetDeadline(time.Now().Add(time.Second))
	err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
	for n := 0; n < 100 && err == nil; n++ {
		err = framer.WriteContinuation(1, n == 99, field(12<<10))
	}
	_, _ = io.Copy(io.Discard, c)
}

// every does something at that pace, each beside the others, until the enemies' context ends. What
// the machine was too slow for in time is made up for.
func (e *enemies) every(pace time.Duration, do func()) {
	tick := time.NewTicker(max(pace, time.Millisecond))
	defer tick.Stop()
	began, done := time.Now(), 0
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
			for due := int(time.Since(began) / pace); done < due; done++ {
				e.working.Go(do)
			}
		}
	}
}

// header is that of a check, with a field of so many bytes more.
func header(more int) []byte {
	var b buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/sluice.v1.RateLimiterService/Check"}, {":authority", "node"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true}) // never fails: b does not
	}
	if more > 0 {
		b = append(b, field(more)...)
	}
	return b
}

func field(size int) []byte {
	var b buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: "x-filler", Value: string(make([]byte, size)), Sensitive: true})
	return b
}

// buffer is what is written to it.
type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// raiseFiles lets this process, and those that it starts, have so many files open.
func raiseFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < n {
		limit.Cur = min(n, limit.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	if limit.Cur < n {
		return fmt.Errorf("%d open files are needed, and %d allowed: see ulimit -n", n, limit.Cur)
	}
	return nil
}
