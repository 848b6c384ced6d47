package peer

import "fmt"

// A writer puts what is in an outbox on a stream: whatever has gathered while it wrote what
// was before. Between two pieces of a large letter it sends what is small.
type writer struct {
	out     *outbox
	send    func(*post) error
	ordered bool   // nothing may be missing
	dropped func() // is told when something is

	scratch []letter
	bytes   []byte // of letters, until they are sent
	large   letter // that is being written, if rest is not nil
	rest    []byte // of it
}

// drain writes until nothing waits.
func (w *writer) drain() error {
	for {
		some, err := w.hurry()
		if err != nil {
			return err
		}
		more, err := w.piece()
		if err != nil {
			return err
		}
		if !some && !more {
			return nil
		}
	}
}

// hurry writes the small letters that wait.
func (w *writer) hurry() (some bool, err error) {
	letters, dropped := w.out.hurried(w.scratch[:0])
	w.scratch = letters
	defer clear(letters)
	if dropped {
		w.dropped()
		if w.ordered {
			return false, errOverflow
		}
	}
	p, b := new(post), w.bytes[:0]
	for i := range letters {
		from := len(b)
		if b, err = letters[i].append(b); err != nil {
			return false, err
		}
		letters[i].done()
		if p.letters = append(p.letters, b[from:]); len(b) < pieceBytes && i+1 < len(letters) {
			continue
		}
		if err := w.send(p); err != nil {
			return false, err
		}
		p, b = new(post), b[:0]
	}
	w.bytes = b
	return len(letters) > 0, nil
}

// piece writes one piece of the large letter under way, or begins one.
func (w *writer) piece() (some bool, err error) {
	if w.rest == nil {
		l, ok := w.out.next()
		if !ok {
			return false, nil
		}
		if w.rest, err = l.append(nil); err != nil {
			return false, err
		}
		if len(w.rest) <= pieceBytes {
			err = w.send(&post{letters: [][]byte{w.rest}})
			w.rest = nil
			w.out.written(l)
			return true, err
		}
		w.large = l
	}
	n := min(len(w.rest), pieceBytes)
	p := &post{part: w.rest[:n], hasPart: true, last: n == len(w.rest)}
	if w.rest = w.rest[n:]; p.last {
		w.rest = nil
		w.out.written(w.large)
		w.large = letter{}
	}
	return true, w.send(p)
}

// A reader puts letters together again, and hands them over one by one.
type reader struct {
	deliver func(letter []byte) error
	parts   []byte // of a large letter, so far
}

func (r *reader) take(p *post) error {
	for _, l := range p.letters {
		if err := r.deliver(l); err != nil {
			return err
		}
	}
	if !p.hasPart {
		return nil
	}
	if len(r.parts)+len(p.part) > maxLetter {
		return fmt.Errorf("a letter has more than %d bytes", maxLetter)
	}
	if r.parts = append(r.parts, p.part...); !p.last {
		return nil
	}
	whole := r.parts
	r.parts = nil
	return r.deliver(whole)
}
