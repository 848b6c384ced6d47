package peer

import (
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/cluster/ownership"
)

// Positions and generations name the holder by its place in the lives of their letter, which are
// field 2 of frames and copyings.

var errName = errors.New("the name of a life is not UTF-8")

// appendLives appends all lives.
func (l *lives) appendLives(b []byte) ([]byte, error) {
	for i := range l.list {
		life := &l.list[i]
		if !utf8.ValidString(life.name) {
			return nil, errName
		}
		var at int
		b, at = beginMessage(b, 2)
		b = endMessage(appendFixed(appendString(b, 1, life.name), 2, life.boot), at)
	}
	return b, nil
}

// note gives the life of p a number.
func (l *lives) note(p ownership.Position) {
	if p != (ownership.Position{}) {
		l.of(p.Gen)
	}
}

// append appends a position, unless it is zero.
func (l *lives) append(b []byte, num protowire.Number, p ownership.Position) []byte {
	if p == (ownership.Position{}) {
		return b
	}
	return l.appendAny(b, num, p)
}

func (l *lives) appendAny(b []byte, num protowire.Number, p ownership.Position) []byte {
	b, at := beginMessage(b, num)
	b = appendUint(appendUint(b, 1, p.Gen.Number), 2, uint64(l.of(p.Gen)))
	return endMessage(appendUint(b, 3, p.Seq), at)
}

// readLives reads the lives, which the items refer to.
func (r *reading) readLives(b []byte) error {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		if b = rest; f.num == 2 && f.bytes != nil {
			if err := r.readLife(f.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// readLife reads the next life. Mostly it is the one that was there in the letter before: then it
// keeps its name.
func (r *reading) readLife(b []byte) error {
	var l life
	before := ""
	if n := len(r.lives); n < cap(r.lives) {
		before = r.lives[:n+1][n].name
	}
	err := fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 2 && bytes == nil:
			l.boot = value
		case num != 1 || bytes == nil:
		case string(bytes) == before:
			l.name = before
		case !utf8.Valid(bytes):
			return errName
		default:
			l.name = string(bytes)
		}
		return nil
	})
	r.lives = append(r.lives, l)
	return err
}

// place reads a position.
func (r *reading) place(b []byte, p *ownership.Position) error {
	number, b := usualUint(b, 1)
	life, b := usualUint(b, 2)
	p.Seq, b = usualUint(b, 3)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		switch {
		case f.bytes != nil:
		case f.num == 1:
			number = f.value
		case f.num == 2:
			life = f.value
		case f.num == 3:
			p.Seq = f.value
		}
	}
	p.Gen = r.life(number, uint32(min(life, math.MaxUint32)))
	return nil
}
