package limiter

// A chunk holds a run of history cells in one cache line. All chunks have one
// size, so memory that one key gives back fits any other of its partition: however
// histories grow and shrink, nothing fragments.
type chunk [chunkWords]uint32

const (
	chunkWords = 16
	pageChunks = 16 // 1 KiB: what a partition takes at a time
)

// A chunkPool hands out chunks to the histories of one partition.
type chunkPool struct {
	arena *arena[chunk]
	pages []uint32 // first chunks of the pages that it took
	free  uint32   // the first free chunk plus one, which holds the next in its first word; 0: none
	fresh uint32   // chunks of the last page that were never handed out
	used  uint32
}

// at returns chunk ref. It is valid until ref is released.
func (p *chunkPool) at(ref uint32) *chunk { return p.arena.at(ref) }

// alloc returns the number of a chunk with undefined content.
func (p *chunkPool) alloc() uint32 {
	p.used++
	if p.free != 0 {
		ref := p.free - 1
		p.free = p.at(ref)[0]
		return ref
	}
	if p.fresh == 0 {
		p.pages = append(p.pages, p.arena.take())
		p.fresh = pageChunks
	}
	p.fresh--
	return p.pages[len(p.pages)-1] + pageChunks - 1 - p.fresh
}

// release takes chunk ref back. When none is left in use, the pages go back too.
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
