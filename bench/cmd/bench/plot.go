package main

import (
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plot draws a picture for each scenario: what a decision cost the servers of each contender, in
// each turn, as a box.
func (r *report) plot(dir string) error {
	for _, o := range r.Scenarios {
		p := plot.New()
		p.Title.Text = o.Scenario
		p.Y.Label.Text = "server CPU per decision, µs"
		p.Y.Min = 0
		var names []string
		for i, c := range o.Results {
			var values plotter.Values
			for _, t := range c.Turns {
				if cpu, ok := t.Measures["cpu"]; ok {
					values = append(values, cpu)
				}
			}
			names = append(names, c.Name)
			if len(values) == 0 {
				continue
			}
			box, err := plotter.NewBoxPlot(vg.Points(24), float64(i), values)
			if err != nil {
				return err
			}
			p.Add(box)
			p.Y.Max = max(p.Y.Max, c.Measures["cpu"].Most*1.05)
		}
		p.Add(plotter.NewGrid())
		p.NominalX(names...)
		width := vg.Length(max(4, 1.3*float64(len(names)))) * vg.Inch
		if err := p.Save(width, 3.5*vg.Inch, filepath.Join(dir, o.Scenario+".svg")); err != nil {
			return err
		}
	}
	return nil
}
