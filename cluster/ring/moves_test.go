package ring

// Owned returns the partitions that a member owns, in ascending order.
func (v *View) Owned(name string) []int {
	var owned []int
	if name == "" {
		return nil
	}
	for p := range v.table.owners {
		if v.Owner(p) == name {
			owned = append(owned, p)
		}
	}
	return owned
}

// A Move is a partition that changes its owner; "" is nobody.
type Move struct {
	Partition int
	From, To  string
}

// Moves returns what changes owner from one view to another, by partition. Joins and leaves also
// move partitions between members that stay: take what moves from here, never from the event.
// In a nil view nobody owns anything.
func Moves(from, to *View) []Move {
	owner := func(v *View, p int) string {
		if v == nil {
			return ""
		}
		return v.Owner(p)
	}
	partitions := 0
	for _, v := range []*View{from, to} {
		if v != nil {
			partitions = max(partitions, v.Partitions())
		}
	}
	var moves []Move
	for p := range partitions {
		if f, t := owner(from, p), owner(to, p); f != t {
			moves = append(moves, Move{Partition: p, From: f, To: t})
		}
	}
	return moves
}
