package limiter

// A chunk holds a run of history cells in one cache line. All chunks have one
// size, so memory that one key gives back fits any other key: however
// histories grow and shrink, nothing fragments.
type chunk [chunkWords]uint32

const chunkWords = 16

// A chunkPool hands out chunks by number. It holds no pointer into any
// history, so the garbage collector has only its pages to see.
type chunkPool struct {
	arena *arena[chunk]
	pages []*page[chunk]
	free  uint32 // the first free chunk plus one, which holds the next in its first word; 0: none
	next  uint32 // the first chunk that was never handed out
	used  uint32
}

// at returns chunk ref. It is valid until ref is freed.
func (p *chunkPool) at(ref uint32) *chunk { return &p.pages[ref/pageLines][ref%pageLines] }

// alloc returns the number of a chunk with undefined content.
func (p *chunkPool) alloc() uint32 {
	p.used++
	if p.free != 0 {
		ref := p.free - 1
		p.free = p.at(ref)[0]
		return ref
	}
	if int(p.next) == len(p.pages)*pageLines {
		p.pages = append(p.pages, p.arena.take())
	}
	p.next++
	return p.next - 1
}

// release gives chunk ref back. When none is left in use, the memory goes too.
func (p *chunkPool) release(ref uint32) {
	p.used--
	if p.used == 0 {
		for _, page := range p.pages {
			p.arena.give(page)
		}
		*p = chunkPool{arena: p.arena}
		return
	}
	p.at(ref)[0] = p.free
	p.free = ref + 1
}
