package gossip

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of what is remembered about members that are gone.
const (
	maxLost  = 256  // addresses to try again
	maxBoots = 1024 // names whose highest boot number is known
)

// A roster is what this node knows of all members, present and past. Gossip writes it from its
// events, with its own lock held; so nothing here waits for anything.
type roster struct {
	name    string // our name
	changes chan struct{}

	mu      sync.Mutex // guards what follows
	lives   map[string]*life
	lost    map[string]lost   // by name, members that are gone
	boots   map[string]uint64 // by name, the highest boot number ever heard
	arrived bool              // another member was met,
	told    bool              // and has told all that it knows, an earlier life of ours too
	version uint64            // of lives: grows with each event
}

// A life is one run of a process, from its start to its end. Several may have one name.
type life struct {
	meta  Meta
	addr  netip.AddrPort
	alive bool // else only heard of: gossip has not taken it in
}

type lost struct {
	addr netip.AddrPort
	at   time.Time
}

func newRoster(name string) *roster {
	return &roster{
		name:    name,
		changes: make(chan struct{}, 1),
		lives:   make(map[string]*life),
		lost:    make(map[string]lost),
		boots:   make(map[string]uint64),
	}
}

// signal says that it pays to look. It never blocks.
func (r *roster) signal() {
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// heard notes a life that gossip may or may not take in.
func (r *roster) heard(id string, m Meta, addr netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bootLocked(m.Name, m.Boot)
	if l := r.lives[id]; l == nil {
		r.lives[id] = &life{meta: m, addr: addr}
	} else if !l.alive {
		l.meta, l.addr = m, addr
	}
}

// present notes a life that gossip took in, or news of it.
func (r *roster) present(id string, m Meta, addr netip.AddrPort) {
	r.mu.Lock()
	r.bootLocked(m.Name, m.Boot)
	r.lives[id] = &life{meta: m, addr: addr, alive: true}
	r.arrivedLocked(m.Name)
	r.version++
	r.mu.Unlock()
	r.signal()
}

func (r *roster) arrivedLocked(name string) {
	delete(r.lost, name)
	if name != r.name {
		r.arrived = true
	}
}

// wasTold notes that another member has told all that it knows.
func (r *roster) wasTold() {
	r.mu.Lock()
	r.told = true
	r.mu.Unlock()
	r.signal()
}

// gone notes that gossip holds a life for dead. Who drained first has left for good and is not
// looked for.
func (r *roster) gone(id string, now time.Time) {
	r.mu.Lock()
	r.goneLocked(id, now)
	r.version++
	r.mu.Unlock()
	r.signal()
}

func (r *roster) goneLocked(id string, now time.Time) {
	l := r.lives[id]
	delete(r.lives, id)
	if l == nil || l.meta.Name == r.name || l.meta.Draining || r.aliveLocked(l.meta.Name) {
		return
	}
	if _, known := r.lost[l.meta.Name]; !known && len(r.lost) >= maxLost {
		oldest := ""
		for name, e := range r.lost {
			if oldest == "" || e.at.Before(r.lost[oldest].at) {
				oldest = name
			}
		}
		delete(r.lost, oldest)
	}
	r.lost[l.meta.Name] = lost{addr: l.addr, at: now}
}

func (r *roster) aliveLocked(name string) bool {
	for _, l := range r.lives {
		if l.alive && l.meta.Name == name {
			return true
		}
	}
	return false
}

// members returns one life per name, the one of the highest boot number, by name.
func (r *roster) members() []Meta {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := make(map[string]string)
	for id, l := range r.lives {
		if !l.alive {
			continue
		}
		if old, ok := best[l.meta.Name]; !ok || cmp.Or(cmp.Compare(l.meta.Boot, r.lives[old].meta.Boot), cmp.Compare(id, old)) > 0 {
			best[l.meta.Name] = id
		}
	}
	metas := make([]Meta, 0, len(best))
	for _, name := range slices.Sorted(maps.Keys(best)) {
		l := r.lives[best[name]]
		m := l.meta
		m.Gossip = l.addr.String()
		metas = append(metas, m)
	}
	return metas
}

// currentVersion is the number of events so far.
func (r *roster) currentVersion() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

// reconcile makes the living the lives that gossip lists, if no event came since version. It tells
// whether anything differed.
func (r *roster) reconcile(ids []string, version uint64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return false
	}
	changed := false
	listed := make(map[string]bool, len(ids))
	for _, id := range ids {
		listed[id] = true
		if l := r.lives[id]; l != nil && !l.alive {
			l.alive, changed = true, true
			r.arrivedLocked(l.meta.Name)
		}
	}
	for id, l := range r.lives {
		switch {
		case listed[id]:
		case l.alive:
			r.goneLocked(id, now)
			changed = true
		default:
			delete(r.lives, id)
		}
	}
	if changed {
		r.signal()
	}
	return changed
}

// addresses returns where living members are, ourselves included, and where those were that are
// gone.
func (r *roster) addresses() (living map[netip.AddrPort]bool, missing []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	living = make(map[netip.AddrPort]bool)
	for _, l := range r.lives {
		if l.alive {
			living[l.addr] = true
		}
	}
	for _, l := range r.lost {
		missing = append(missing, l.addr)
	}
	return living, missing
}

func (r *roster) hasJoined() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived && r.told
}

func (r *roster) highest(name string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.boots[name]
}

// boot notes a boot number that was heard for a name.
func (r *roster) boot(name string, boot uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bootLocked(name, boot)
}

// bootLocked notes a boot number. Of too many names some that are not alive are forgotten.
func (r *roster) bootLocked(name string, boot uint64) {
	if old, known := r.boots[name]; known {
		r.boots[name] = max(old, boot)
		return
	}
	if len(r.boots) >= maxBoots {
		for old := range r.boots {
			if old != r.name && !r.aliveLocked(old) {
				delete(r.boots, old)
				break
			}
		}
	}
	r.boots[name] = boot
}

// bootsFormat is the first byte of encoded boot numbers.
const bootsFormat = 1

// encodeBoots returns all boot numbers, for others to learn of lives that they never met.
func (r *roster) encodeBoots() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := []byte{bootsFormat}
	for name, boot := range r.boots {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = binary.BigEndian.AppendUint64(b, boot)
	}
	return b
}

// mergeBoots takes in what another's encodeBoots returned, all of it or nothing.
func (r *roster) mergeBoots(b []byte) error {
	if len(b) == 0 || b[0] != bootsFormat {
		return errors.New("boot numbers are in a format that this version does not know")
	}
	heard := make(map[string]uint64)
	for b = b[1:]; len(b) > 0; {
		n, used := binary.Uvarint(b)
		if used <= 0 || n == 0 || n > MaxName || len(b) < used+int(n)+8 {
			return errors.New("boot numbers are cut short")
		}
		heard[string(b[used:used+int(n)])] = binary.BigEndian.Uint64(b[used+int(n):])
		b = b[used+int(n)+8:]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, boot := range heard {
		r.bootLocked(name, boot)
	}
	return nil
}
