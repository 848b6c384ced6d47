package statusz

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The ring is drawn around the origin, clockwise from the top.
const (
	outerRim, outerFoot = 196.0, 184.0 // the owner of what moves
	innerRim, innerFoot = 180.0, 116.0 // the holder
)

// colors is how many members can be told apart by color.
const colors = 8

// nobody is the color of what is held by nobody who is known.
const nobody = "none"

// A ring is a picture of the partitions.
type ring struct {
	Partitions int
	Arcs       []arc
	Moving     int // partitions whose holder is not their owner
	Unheld     int // partitions of which no holder is known
	Legend     []share
}

// An arc is partitions that follow each other and are with the same nodes.
type arc struct {
	Path, Color           string // of the holder
	OwnerPath, OwnerColor string // of the owner, if it is another
	Title                 string
}

// A share is what a member has of the partitions.
type share struct {
	Name, Color string
	Held, Owned int
	Percent     float64 // of all partitions: held
}

// drawRing draws who holds what, and who owns what moves.
func drawRing(owners, holders []string) ring {
	r := ring{Partitions: len(holders), Legend: shares(owners, holders)}
	color := map[string]string{"": nobody}
	for _, s := range r.Legend {
		color[s.Name] = s.Color
	}
	for p, holder := range holders {
		switch {
		case holder == "":
			r.Unheld++
		case holder != owners[p]:
			r.Moving++
		}
	}
	longest := max(1, len(holders)/4) // a whole circle in one arc would begin where it ends
	for from := 0; from < len(holders); {
		to := from + 1
		for to < len(holders) && to-from < longest && holders[to] == holders[from] && owners[to] == owners[from] {
			to++
		}
		holder, owner := holders[from], owners[from]
		a := arc{Path: sector(from, to, len(holders), innerRim, innerFoot), Color: color[holder], Title: arcTitle(from, to, holder, owner)}
		if holder != owner {
			a.OwnerPath, a.OwnerColor = sector(from, to, len(holders), outerRim, outerFoot), color[owner]
		}
		r.Arcs = append(r.Arcs, a)
		from = to
	}
	return r
}

// shares counts what each member has, in the order of their names.
func shares(owners, holders []string) []share {
	names := slices.Compact(slices.Sorted(slices.Values(slices.Concat(owners, holders))))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	all := make([]share, len(names))
	for i, name := range names {
		all[i] = share{Name: name, Color: fmt.Sprintf("m%d", i%colors)}
	}
	at := func(name string) *share {
		i, _ := slices.BinarySearch(names, name)
		return &all[i]
	}
	for p := range holders {
		if holders[p] != "" {
			at(holders[p]).Held++
		}
		if owners[p] != "" {
			at(owners[p]).Owned++
		}
	}
	for i := range all {
		all[i].Percent = 100 * float64(all[i].Held) / float64(len(holders))
	}
	return all
}

func arcTitle(from, to int, holder, owner string) string {
	var b strings.Builder
	if to == from+1 {
		fmt.Fprintf(&b, "partition %d: ", from)
	} else {
		fmt.Fprintf(&b, "partitions %d to %d: ", from, to-1)
	}
	if holder == "" {
		b.WriteString("no holder known")
	} else {
		b.WriteString("held by " + holder)
	}
	if owner != holder && owner != "" {
		b.WriteString(", owned by " + owner)
	}
	return b.String()
}

// sector is the path around a part of the ring: partitions [from, to) of all.
func sector(from, to, all int, rim, foot float64) string {
	at := func(p int, radius float64) (x, y float64) {
		sin, cos := math.Sincos(2 * math.Pi * float64(p) / float64(all))
		return radius * sin, -radius * cos
	}
	x1, y1 := at(from, rim)
	x2, y2 := at(to, rim)
	x3, y3 := at(to, foot)
	x4, y4 := at(from, foot)
	return fmt.Sprintf("M%.1f %.1fA%g %g 0 0 1 %.1f %.1fL%.1f %.1fA%g %g 0 0 0 %.1f %.1fZ",
		x1, y1, rim, rim, x2, y2, x3, y3, foot, foot, x4, y4)
}
