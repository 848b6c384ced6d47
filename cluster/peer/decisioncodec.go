package peer

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/limiter"
)

func appendDecision(b []byte, num protowire.Number, d *limiter.Decision) []byte {
	return appendMessage(b, num, func(b []byte) []byte {
		b = appendBool(b, 1, d.Allowed)
		b = appendUint(b, 2, uint64(d.Reason))
		b = appendUint(b, 3, uint64(d.Exactness))
		b = appendUint(b, 4, uint64(d.Limit))
		b = appendUint(b, 5, uint64(d.Remaining))
		b = appendUint(b, 6, nanos(d.Reset))
		return appendUint(b, 7, nanos(d.RetryAfter))
	})
}

func parseDecision(b []byte, d *limiter.Decision) error {
	return fields(b, func(num protowire.Number, value uint64, _ []byte) error {
		switch num {
		case 1:
			d.Allowed = value != 0
		case 2:
			d.Reason = limiter.Reason(min(value, math.MaxUint8))
		case 3:
			d.Exactness = limiter.Exactness(min(value, math.MaxUint8))
		case 4:
			d.Limit = count(value)
		case 5:
			d.Remaining = count(value)
		case 6:
			d.Reset = duration(value)
		case 7:
			d.RetryAfter = duration(value)
		}
		return nil
	})
}

func appendWindow(b []byte, num protowire.Number, w *limiter.WindowState) []byte {
	return appendMessage(b, num, func(b []byte) []byte {
		b = appendUint(b, 1, uint64(w.Limit))
		b = appendUint(b, 2, nanos(w.Per))
		b = appendUint(b, 3, uint64(w.Used))
		b = appendUint(b, 4, uint64(w.Remaining))
		b = appendUint(b, 5, nanos(w.Reset))
		return appendUint(b, 6, nanos(w.RetryAfter))
	})
}

func parseWindow(b []byte, w *limiter.WindowState) error {
	return fields(b, func(num protowire.Number, value uint64, _ []byte) error {
		switch num {
		case 1:
			w.Limit = count(value)
		case 2:
			w.Per = duration(value)
		case 3:
			w.Used = count(value)
		case 4:
			w.Remaining = count(value)
		case 5:
			w.Reset = duration(value)
		case 6:
			w.RetryAfter = duration(value)
		}
		return nil
	})
}

func appendGrant(b []byte, num protowire.Number, g *limiter.Grant) []byte {
	return appendMessage(b, num, func(b []byte) []byte {
		b = appendBool(b, 1, g.Granted)
		b = appendUint(b, 2, uint64(g.Reason))
		b = appendUint(b, 3, uint64(g.Exactness))
		b = appendUint(b, 4, uint64(g.InUse))
		b = appendUint(b, 5, uint64(g.Limit))
		b = appendFixed(b, 6, g.Nonce)
		b = appendUint(b, 7, nanos(g.ExpiresIn))
		b = appendUint(b, 8, nanos(g.FreesIn))
		if g.Decision == (limiter.Decision{}) {
			return b
		}
		return appendDecision(b, 9, &g.Decision)
	})
}

func parseGrant(b []byte, g *limiter.Grant) error {
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) (err error) {
		switch num {
		case 1:
			g.Granted = value != 0
		case 2:
			g.Reason = limiter.Reason(min(value, math.MaxUint8))
		case 3:
			g.Exactness = limiter.Exactness(min(value, math.MaxUint8))
		case 4:
			g.InUse = count(value)
		case 5:
			g.Limit = count(value)
		case 6:
			g.Nonce = value
		case 7:
			g.ExpiresIn = duration(value)
		case 8:
			g.FreesIn = duration(value)
		case 9:
			err = parseDecision(bytes, &g.Decision)
		}
		return err
	})
}

// count and duration keep numbers that no version of ours sends within their types.
func count(v uint64) uint32           { return uint32(min(v, math.MaxUint32)) }
func duration(v uint64) time.Duration { return time.Duration(min(v, math.MaxInt64)) }

func nanos(d time.Duration) uint64 { return uint64(max(d, 0)) }
