package main

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
)

func rounds(cpu ...[2]float64) (all [][]sample) {
	for _, c := range cpu {
		all = append(all, []sample{{Name: sluice, CPUPerCall: c[0]}, {Name: "same", CPUPerCall: c[1]}})
	}
	return all
}

func TestSummarise(t *testing.T) {
	r := summarise(options{against: []string{"same"}}, rounds([2]float64{13, 10}, [2]float64{22, 20}, [2]float64{15, 12}))
	if len(r.Compared) != 1 || len(r.Servers) != 2 {
		t.Fatalf("%d comparisons of %d servers, want 1 of 2", len(r.Compared), len(r.Servers))
	}
	c := r.Compared[0]
	if c.Against != "same" || c.Ratio.Least != 1.1 || math.Abs(c.Ratio.Median-15.0/12) > 1e-9 || c.Ratio.Most != 1.3 {
		t.Errorf("the pairs' ratios lie %+v against %s, want from 1.1 over 1.25 to 1.3 against same", c.Ratio, c.Against)
	}
}

func TestReportIsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := summarise(options{against: []string{"same"}}, rounds([2]float64{12, 10})).writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Compared []struct {
			Ratio struct {
				Median float64 `json:"median"`
			} `json:"ratio"`
		} `json:"compared"`
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Compared) != 1 || got.Compared[0].Ratio.Median != 1.2 {
		t.Errorf("%s reads as %+v, %v, want a ratio of 1.2", out.Bytes(), got, err)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"-against", "sluice"}, {"-against", ""}, {"-pairs", "0"}, {"-for", "0s"}, {"-conns", "-1"}, {"-o", "yaml"},
	} {
		if o, err := parse(args, &bytes.Buffer{}); err == nil {
			t.Errorf("parse %q = %+v, want an error", args, o)
		}
	}
	if o, err := parse([]string{"-against", "same,same", "-o", "json"}, &bytes.Buffer{}); err != nil || len(o.against) != 2 || !o.json {
		t.Errorf("parse = %+v, %v, want same twice, as JSON", o, err)
	}
}
