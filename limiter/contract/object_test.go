package contract

import "testing"

func TestObjectHasExactlyTheNamedMembers(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":1,"b":null}`:   true,
		`{"b":[2],"a":{}}`:   true,
		`{}`:                 false,
		`{"a":1}`:            false,
		`{"a":1,"a":1}`:      false,
		`{"a":1,"B":2}`:      false,
		`{"a":1,"b":2,"":3}`: false,
	} {
		members, ok := object([]byte(text), "a", "b")
		if ok != want {
			t.Errorf("object(%s) = %s, %v; want %v", text, members, ok, want)
		}
		if ok && (members["a"] == nil || members["b"] == nil) {
			t.Errorf("object(%s) lost a member: %s", text, members)
		}
	}
}
