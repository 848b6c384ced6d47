package statusz

import (
	"slices"
	"testing"
)

func TestRing(t *testing.T) {
	owners := []string{"a", "a", "a", "a", "b", "b", "b", "b", "b", "b", "c", ""}
	holders := slices.Clone(owners)
	holders[4], holders[9] = "a", ""
	r := drawRing(owners, holders)
	if r.Partitions != 12 || r.Moving != 1 || r.Unheld != 2 {
		t.Errorf("%d partitions, %d moving, %d unheld", r.Partitions, r.Moving, r.Unheld)
	}
	want := []share{{"a", "m0", 5, 4, 100 * 5.0 / 12}, {"b", "m1", 4, 6, 100 * 4.0 / 12}, {"c", "m2", 1, 1, 100 * 1.0 / 12}}
	if !slices.Equal(r.Legend, want) {
		t.Errorf("legend %v, want %v", r.Legend, want)
	}
	var titles []string
	for _, a := range r.Arcs {
		titles = append(titles, a.Title+" "+a.Color+" "+a.OwnerColor)
	}
	if want := []string{
		"partitions 0 to 2: held by a m0 ", "partition 3: held by a m0 ", // no arc is more than a quarter
		"partition 4: held by a, owned by b m0 m1", "partitions 5 to 7: held by b m1 ", "partition 8: held by b m1 ",
		"partition 9: no holder known, owned by b none m1", "partition 10: held by c m2 ", "partition 11: no holder known none ",
	}; !slices.Equal(titles, want) {
		t.Errorf("arcs %q,\nwant %q", titles, want)
	}
	if got, want := r.Arcs[0].Path, "M0.0 -180.0A180 180 0 0 1 180.0 -0.0L116.0 -0.0A116 116 0 0 0 0.0 -116.0Z"; got != want {
		t.Errorf("the first quarter is %s, want %s", got, want)
	}
}

// One node alone, and more than there are colors.
func TestRingOfOneAndOfMany(t *testing.T) {
	alone := slices.Repeat([]string{"a"}, 1021)
	if r := drawRing(alone, alone); len(r.Arcs) != 5 || r.Legend[0].Percent != 100 {
		t.Errorf("%d arcs, %v", len(r.Arcs), r.Legend)
	}
	var many []string
	for i := range 20 {
		many = append(many, string(rune('a'+i)))
	}
	if r := drawRing(many, many); len(r.Legend) != 20 || r.Legend[8].Color != "m0" {
		t.Errorf("%v", r.Legend)
	}
}

func TestChart(t *testing.T) {
	c := drawChart(nil, 0, 0)
	if len(c.Areas) != 1 || c.Areas[0].Path != "" || c.Lines[2].Label != "1" {
		t.Errorf("of nothing: %+v", c)
	}
	i := interval{from: Span, to: Span / 2}
	i.rate[1], i.rate[2] = 3, 1
	c = drawChart([]interval{i}, 1, 7)
	if len(c.Areas) != 2 || c.Lines[2].Label != "4" || c.Marks[0].Title != "10m 0s to 5m 0s ago\nrate limited 3/s\nconcurrency limited 1/s" {
		t.Errorf("%+v", c)
	}
	for n, want := range []string{"M44.0 45.0H260.0L260.0 150.0H44.0Z", "M44.0 10.0H260.0L260.0 45.0H44.0Z"} { // one upon the other
		if got := c.Areas[n].Path; got != want {
			t.Errorf("area %d is %s, want %s", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.04: "0.04", 2.5: "2.5", 99.96: "100.0", 1234.5: "1234", 12_345: "12.3k", 2e6: "2M"} {
		if got := rate(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
