package ring

import (
	"slices"
	"sync"
)

// remembered is how many tables a Builder keeps: those of a rolling restart of 50 nodes, there and
// back, at some 8 KiB each.
const remembered = 128

// A Builder builds views and remembers their tables, so that members which come and go, drain and
// restart cost the building of each table once. It is safe for concurrent use.
type Builder struct {
	partitions int

	mu     sync.Mutex // guards what follows
	tables map[string]*table
	recent []string // the keys of tables, least recently used first
}

// NewBuilder returns a Builder of views with that many partitions.
func NewBuilder(partitions int) *Builder {
	return &Builder{partitions: partitions, tables: make(map[string]*table)}
}

// Build returns the view of these members, with the errors of the function Build.
func (b *Builder) Build(members []Member) (*View, error) {
	if err := checkPartitions(b.partitions); err != nil {
		return nil, err
	}
	sorted, err := sortMembers(members)
	if err != nil {
		return nil, err
	}
	t, err := b.table(active(sorted))
	if err != nil {
		return nil, err
	}
	return newView(sorted, t), nil
}

func (b *Builder) table(names []string) (*table, error) {
	var key []byte
	for _, name := range names {
		key = appendName(key, name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.tables[string(key)]; ok {
		i := slices.Index(b.recent, string(key))
		b.recent = append(slices.Delete(b.recent, i, i+1), string(key))
		return t, nil
	}
	t, err := newTable(names, b.partitions)
	if err != nil {
		return nil, err
	}
	if len(b.recent) == remembered {
		delete(b.tables, b.recent[0])
		b.recent = slices.Delete(b.recent, 0, 1)
	}
	b.tables[string(key)] = t
	b.recent = append(b.recent, string(key))
	return t, nil
}
