package limiter

// The tree of a history that is too large for its record. Its leaves hold the cells; the
// chunks above them hold the numbers of chunks below. Leaves are numbered from the head's
// branch on, so a leaf's number is the way to it, four bits a step.

// slot returns the words that hold entry i, and its place in them.
func (h *history) slot(i uint32) (words []uint32, at uint32) {
	if h.height() == 0 {
		return h.words[:], i
	}
	pos := h.head() + i
	if pos >= h.tailFrom() && h.hasTail() {
		return h.words[tailWord:], pos % h.cellsIn(tailWords)
	}
	return h.place(pos)
}

// place returns the words of the leaf that hold position pos, and its place in them.
func (h *history) place(pos uint32) (words []uint32, at uint32) {
	per := h.cellsIn(chunkWords)
	var ref uint32
	switch leaf := pos / per; leaf {
	case h.head() / per:
		ref = h.words[firstWord]
	case (h.tailFrom() - 1) / per:
		ref = h.words[lastWord]
	default:
		ref = h.leaf(leaf)
	}
	return h.chunks.at(ref)[:], pos % per
}

// leaf returns the number of the chunk that is the given leaf, the way from the branches.
func (h *history) leaf(leaf uint32) (ref uint32) {
	shift := fanBits * (h.height() - 1)
	ref = h.words[leaf>>shift]
	for shift > 0 {
		shift -= fanBits
		ref = h.chunks.at(ref)[leaf>>shift%fan]
	}
	return ref
}

// releaseTree frees all chunks, if there are any.
func (h *history) releaseTree() {
	if h.height() > 0 {
		per := h.cellsIn(chunkWords)
		h.releaseLeaves(h.head()/per, (h.tailFrom()-1)/per, true)
	}
}

// releaseLeaves frees the leaves from first to last, and every chunk above them
// that has no leaf behind last; if whole, last is the tree's last leaf.
func (h *history) releaseLeaves(first, last uint32, whole bool) {
	height := h.height()
	var path [maxDepth + 1]uint32
	for leaf := first; leaf <= last; leaf++ {
		shift := fanBits * (height - 1)
		path[0] = h.words[leaf>>shift]
		for d := uint32(1); d < height; d++ {
			shift -= fanBits
			path[d] = h.chunks.at(path[d-1])[leaf>>shift%fan]
		}
		end := whole && leaf == last
		for d := height; d > 0; d-- {
			below := fanBits * (height - d) // log2 of the leaves under path[d-1]
			if !end && (leaf+1)&(1<<below-1) != 0 {
				break
			}
			h.chunks.release(path[d-1])
		}
	}
}

// plant makes a tree of the record's cells, which are as many as fit.
func (h *history) plant() {
	ref := h.chunks.alloc()
	cells := h.words
	copy(h.chunks.at(ref)[:], cells[:])
	n := h.entries()
	oldest, _ := h.cell(0)
	h.meta++
	h.words = [inlineWords]uint32{0: ref, lastWord: ref, firstWord: ref}
	h.setEntries(n)
	if h.hasTail() {
		copy(h.words[tailWord:], cells[inlineWords-tailWords:])
		h.words[baseWord] = oldest << 16
	}
}

// makeRoom makes sure that position pos, which is behind the last, has a place.
func (h *history) makeRoom(pos uint32) {
	if h.form() == wide {
		h.extend(pos)
		return
	}
	room := h.cellsIn(tailWords)
	if pos%room != 0 {
		return
	}
	// The tail begins anew: what it holds goes into the tree.
	pos -= room
	h.extend(pos)
	at := pos % h.cellsIn(chunkWords) / room * tailWords
	copy(h.chunks.at(h.words[lastWord])[at:], h.words[tailWord:tailWord+tailWords])
}

// One branch of the highest tree has room for the largest history. So none grows higher: it would
// have a whole branch behind the one with the head.
const _ = uint(chunkWords/2<<(fanBits*(maxDepth-1)) - maxEntries)

// extend makes sure that the tree has a leaf for position pos, which is at most
// the one behind the last.
func (h *history) extend(pos uint32) {
	per := h.cellsIn(chunkWords)
	if pos%per != 0 {
		return
	}
	leaf := pos / per
	if leaf>>(fanBits*(h.height()-1)) == branches {
		ref := h.chunks.alloc()
		copy(h.chunks.at(ref)[:], h.words[:branches])
		h.words[0] = ref
		h.meta++
	}
	shift := fanBits * (h.height() - 1)
	at := &h.words[leaf>>shift]
	for {
		if leaf&(1<<shift-1) == 0 { // the first leaf under this branch
			*at = h.chunks.alloc()
		}
		if shift == 0 {
			h.words[lastWord] = *at
			return
		}
		shift -= fanBits
		at = &h.chunks.at(*at)[leaf>>shift%fan]
	}
}
