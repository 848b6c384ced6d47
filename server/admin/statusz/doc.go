// Package statusz is a page for the people who run Sluice, /statusz on the operators' port: how
// its node is, the members, a picture of who holds which partition, what was decided in the
// last minutes, and a form that explains one key.
//
// It is drawn on the server, in HTML with SVG, and runs no script. What it shows comes from
// where the commands `sluice status` and `sluice inspect` have it. Rates are of the node that
// is asked alone: [Rates] takes a sample of its counters now and then, off the path of calls.
//
// A key comes in the body of a POST. It is handed on, and shows neither in the page nor in a
// log; an answer tells only its identity, the keyed hash.
package statusz
