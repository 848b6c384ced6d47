package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"sync"
	"time"
)

const (
	journalLines = 256         // waiting to be written; what does not fit is dropped
	onceEvery    = time.Minute // the same complaint about the same node
	maxOnce      = 256         // complaints remembered
)

// A journal writes the log from a goroutine of its own, as most lines come about while gossip holds
// its lock, and a log may be a slow pipe. It also makes slog lines of what memberlist logs.
type journal struct {
	log   *slog.Logger
	lines chan line
	done  chan struct{}

	mu   sync.Mutex // guards last
	last map[string]time.Time
}

type line struct {
	level slog.Level
	msg   string
	args  []any
}

func newJournal(log *slog.Logger) *journal {
	return &journal{
		log:   log,
		lines: make(chan line, journalLines),
		done:  make(chan struct{}),
		last:  make(map[string]time.Time),
	}
}

// run writes lines until close, and then those that are still waiting.
func (j *journal) run() {
	for {
		select {
		case l := <-j.lines:
			j.write(l)
		case <-j.done:
			for {
				select {
				case l := <-j.lines:
					j.write(l)
				default:
					return
				}
			}
		}
	}
}

func (j *journal) close() { close(j.done) }

func (j *journal) write(l line) {
	j.log.Log(context.Background(), l.level, "gossip: "+l.msg, l.args...)
}

func (j *journal) add(level slog.Level, msg string, args ...any) {
	if !j.log.Enabled(context.Background(), level) {
		return
	}
	select {
	case j.lines <- line{level, msg, args}:
	default:
	}
}

func (j *journal) debug(msg string, args ...any) { j.add(slog.LevelDebug, msg, args...) }

// warn says a thing at most once a minute per key; without a key always.
func (j *journal) warn(key, msg string, args ...any) {
	if key == "" || j.due(key, time.Now()) {
		j.add(slog.LevelWarn, msg, args...)
	}
}

// refused says that a node, known by key, was refused.
func (j *journal) refused(key string, args ...any) {
	j.warn("refused "+key, "a node was refused and is no member", args...)
}

func (j *journal) due(key string, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if at, ok := j.last[key]; ok && now.Sub(at) < onceEvery {
		return false
	}
	if len(j.last) >= maxOnce {
		clear(j.last)
	}
	j.last[key] = now
	return true
}

// refusals are the lines of memberlist that tell of a node which could not even be understood, and what to
// make of them.
var refusals = []struct{ text, reason string }{
	{"installed keys could decrypt", "its gossip key is none of ours"},
	{"remote state is not encrypted", "it does not encrypt its gossip, we do"},
	{"encryption is not configured", "it encrypts its gossip, we do not"},
	{"unacceptable label", "its cluster label differs from ours"},
}

var (
	fromAddr   = regexp.MustCompile(`from=(\[[^\]]*\]|[^\s:]+):\d+`)
	quotedText = regexp.MustCompile(`label ("(?:[^"\\]|\\.)*")`)
)

// Write takes a line of memberlist's log. Most are chatter.
func (j *journal) Write(b []byte) (int, error) {
	for _, r := range refusals {
		if !bytes.Contains(b, []byte(r.text)) {
			continue
		}
		host := "unknown"
		if m := fromAddr.FindSubmatch(b); m != nil {
			host = string(m[1])
		}
		args := []any{"host", host, "reason", r.reason}
		if m := quotedText.FindSubmatch(b); m != nil {
			args = append(args, "label", string(m[1]))
		}
		j.refused(host+" "+r.text, args...)
		return len(b), nil
	}
	if j.log.Enabled(context.Background(), slog.LevelDebug) {
		j.debug(string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}
