package contract

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// object reads b as one JSON object that has exactly the named members, each
// once, and returns their values. Unmarshal into a struct would not do: it
// ignores case, unknown members and all but the last of duplicates.
func object(b []byte, names ...string) (map[string]json.RawMessage, bool) {
	if !utf8.Valid(b) || !json.Valid(b) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	members := make(map[string]json.RawMessage, len(names))
	for dec.More() {
		t, err := dec.Token()
		name, isString := t.(string)
		if err != nil || !isString || !slices.Contains(names, name) || members[name] != nil {
			return nil, false
		}
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return nil, false
		}
		members[name] = raw
	}
	return members, len(members) == len(names)
}

// value reads a JSON value as a T. Unmarshal alone would take null for anything.
func value[T any](raw json.RawMessage) (v T, ok bool) {
	if string(raw) == "null" || json.Unmarshal(raw, &v) != nil {
		return v, false
	}
	return v, true
}
