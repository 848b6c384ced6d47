package gateway

import "fmt"

// Keys are known by number or by name.
type Keys struct {
	Names  []string
	Number map[string]int
}

// MakeKeys names n keys.
func MakeKeys(n int) *Keys {
	k := &Keys{Names: make([]string, n), Number: make(map[string]int, n)}
	for i := range k.Names {
		k.Names[i] = fmt.Sprintf("key-%05d", i)
		k.Number[k.Names[i]] = i
	}
	return k
}

// Part returns the numbers of the keys of one of so many parts: from, and up to but not to.
func (k *Keys) Part(part, parts int) (from, to int) {
	return len(k.Names) * part / parts, len(k.Names) * (part + 1) / parts
}
