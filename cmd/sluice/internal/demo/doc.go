// Package demo is what `sluice demo` shows behind its node and gateway: a policy
// with five keys, the gateway's configuration, and a small upstream that knows
// nothing of limits.
//
// The upstream answers
//
//	GET  /                a list of what there is; needs no key
//	GET  /verify          that the key works
//	POST /excel/generate  a run: {"ms": N} takes that long, {"async": true} is answered
//	                      202 with a task that takes as long
//	GET  /tasks/{id}      that task: running, succeeded or failed
//	POST /files           201, after reading the body
//	POST /templates       201; the gateway lets only the tier enterprise through
//
// and on any path ?fail=CODE with that error of the catalogue.
package demo
