package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"
	"unsafe"

	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/limiter"
)

// A filling says what a process is to hold.
type filling struct {
	keys int
	hits int           // of each key, no two of one key in the same millisecond
	over time.Duration // of the table's clock, from the first hit to the last
}

// partitions is server.Partitions, which is not imported: with it would come all of gRPC,
// and be counted as the keys'.
const partitions = 1021

// Most keys have a few hits in their window; some fill it. Of a key that goes on at its
// limit the oldest hits expire as new ones come, which takes a little more memory than
// the first 600 did: such a key rolls. Its hits come just slowly enough that all pass.
const (
	fewHits  = 4
	fewOver  = 40 * time.Second
	fullHits = 600
	fullOver = 59 * time.Second
	rollHits = 2 * fullHits
	rollOver = rollHits * 100_200 * time.Microsecond
	period   = time.Minute
)

// live returns how many hits of each key the window still holds at the end.
func (f filling) live() int {
	if f.over <= period {
		return f.hits
	}
	return int(int64(f.hits) * int64(period) / int64(f.over))
}

func (f filling) args() []string {
	return []string{"hold", strconv.Itoa(f.keys), strconv.Itoa(f.hits), f.over.String()}
}

// held is what the process says of itself when it is filled.
type held struct {
	Keys        int    `json:"keys"`
	HeapInUse   uint64 `json:"heap_in_use"`    // bytes in objects, live or not yet collected
	HeapFree    uint64 `json:"heap_free"`      // bytes that the runtime keeps for new objects
	Collections uint64 `json:"gc_collections"` // so far, each by the runtime's own choice
}

// hold fills a table and holds it. Nothing is done about memory before it is read: no
// collection is forced, nothing is given back, and GOGC is as it was found.
func hold(args []string) error {
	f, err := parseFilling(args)
	if err != nil {
		return err
	}
	table, err := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: max(1, f.keys)})
	if err != nil {
		return err
	}
	if err := f.fill(table); err != nil {
		return err
	}
	line, err := json.Marshal(self(table.Keys()))
	if err != nil {
		return err
	}
	process.Hold(string(line))
	runtime.KeepAlive(table)
	return nil
}

func parseFilling(args []string) (f filling, err error) {
	if len(args) != 3 {
		return f, errors.New("hold is for the processes that this program starts")
	}
	keys, err1 := strconv.Atoi(args[0])
	hits, err2 := strconv.Atoi(args[1])
	over, err3 := time.ParseDuration(args[2])
	return filling{keys: keys, hits: hits, over: over}, errors.Join(err1, err2, err3)
}

// fill counts the hits: one of each key, then the next of each, so that the hits of one
// key lie as far apart as can be. All must be admitted.
func (f filling) fill(table *limiter.Table) error {
	if f.keys == 0 {
		return nil
	}
	tier, err := limiter.NewTier(limiter.TierSpec{
		Name: "enterprise", Windows: []limiter.Window{{Limit: fullHits, Per: period}}, Concurrent: 50,
	})
	if err != nil {
		return err
	}
	secrets, err := limiter.NewSecrets([]byte("a secret for measurements"))
	if err != nil {
		return err
	}
	hasher := limiter.NewHasher(secrets, partitions)
	key := []byte("sk_live_0000000000000000")
	total := int64(f.keys) * int64(f.hits)
	for i := range total {
		name(key, uint64(i%int64(f.keys)))
		now := limiter.Instant(float64(f.over) * float64(i) / float64(total))
		// The key's memory is lent for the length of the call, and nothing keeps it.
		if d := table.Check(hasher.Key(unsafe.String(&key[0], len(key))), tier, 1, now); !d.Allowed {
			return fmt.Errorf("hit %d was denied for reason %d", i, d.Reason)
		}
	}
	return nil
}

// name writes the number of a key into its name. It allocates nothing, so that there is
// no garbage but the table's own.
func name(key []byte, n uint64) {
	const digits = "0123456789abcdef"
	for i := range 16 {
		key[len(key)-1-i] = digits[n>>(4*i)&15]
	}
}

// self reads the runtime's accounts, which stops nothing and collects nothing.
func self(keys int) held {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	return held{
		Keys: keys, HeapInUse: samples[0].Value.Uint64(), HeapFree: samples[1].Value.Uint64(), Collections: samples[2].Value.Uint64(),
	}
}
