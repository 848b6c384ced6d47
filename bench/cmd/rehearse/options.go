package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"
)

// options are what the program can be told.
type options struct {
	acts       *regexp.Regexp
	short      bool
	keys       int
	rate       int
	minMembers int
	minReady   time.Duration
	seed       uint64
	from       string
	binary     string
	previous   string
	logs       string
	keep       bool
	json       bool
	leadIn     time.Duration // load before an act
	tail       time.Duration // and after it
}

func parse(args []string, usage io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("rehearse", flag.ContinueOnError)
	flags.SetOutput(usage)
	var names []string
	for _, a := range acts {
		names = append(names, a.name)
	}
	pattern := flags.String("acts", "", "`regexp` of the acts to play, of "+strings.Join(names, ", ")+"; default all")
	format := flags.String("o", "text", "how to report: text or json")
	flags.BoolVar(&o.short, "short", false, "a short form: the first start, the upgrade and back, and an eviction")
	flags.IntVar(&o.keys, "keys", 1000, "keys")
	flags.IntVar(&o.rate, "rate", 500, "calls a second, of both gateways")
	flags.IntVar(&o.minMembers, "min-members", 0, "the nodes' --min-members, where an act has no other")
	flags.DurationVar(&o.minReady, "min-ready", 5*time.Second, "minReadySeconds of the StatefulSet")
	flags.Uint64Var(&o.seed, "seed", 0, "of all that is random; 0: another one each time")
	flags.StringVar(&o.from, "from", "", "the `revision` to upgrade from; default: the newest one, by first parents, whose program differs from this tree's, from where origin/main and HEAD meet if there is such a branch")
	flags.StringVar(&o.binary, "binary", "", "the sluice to run; default: built from this tree")
	flags.StringVar(&o.previous, "previous", "", "the sluice to upgrade from; default: built from -from")
	flags.StringVar(&o.logs, "logs", "", "`folder` for logs; default: a new one in the system's for temporary files")
	flags.BoolVar(&o.keep, "keep", false, "keep logs also when all bounds held")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	o.leadIn, o.tail = 2*time.Second, 3*time.Second
	if o.short {
		o.leadIn, o.tail = 500*time.Millisecond, time.Second
		if !given["min-ready"] {
			o.minReady = time.Second
		}
		if !given["keys"] {
			o.keys = 500
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.acts, err = regexp.Compile("^(?:" + *pattern + ")$"); *pattern == "" {
		o.acts = regexp.MustCompile("")
	} else if err != nil {
		return o, fmt.Errorf("-acts: %w", err)
	}
	switch {
	case o.keys < 1 || o.rate < 1:
		return o, errors.New("-keys and -rate must be positive")
	case o.minReady < 0 || o.minMembers < 0:
		return o, errors.New("-min-ready and -min-members must not be negative")
	case *format != "text" && *format != "json":
		return o, fmt.Errorf("-o: %q is none of text, json", *format)
	}
	o.json = *format == "json"
	return o, nil
}
