package main

import "fmt"

// Groups of gateways. Each has keys of its own, so that what one group's time-outs leave
// uncounted or counted twice does not blur what the other finds.
const (
	patient   = iota // with a deadline of 5 s
	impatient        // with a deadline of 50 ms
	groups
)

// keys are those of all groups, known by number or by name.
type keys struct {
	names  []string
	number map[string]int
}

func makeKeys(n int) *keys {
	k := &keys{names: make([]string, n), number: make(map[string]int, n)}
	for i := range k.names {
		k.names[i] = fmt.Sprintf("key-%05d", i)
		k.number[k.names[i]] = i
	}
	return k
}

// of returns the numbers of a group's keys: from, and up to but not to.
func (k *keys) of(group int) (from, to int) {
	return len(k.names) * group / groups, len(k.names) * (group + 1) / groups
}
