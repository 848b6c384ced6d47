// Package audit judges a rate limiter from outside: from what callers sent and were told,
// and from what the nodes say that they have counted, without believing either.
//
// A [Log] holds every try that left a gateway and every call that a try was made for. A
// try was decided somewhere between its sending and its answer; one that was never
// answered was decided at any time since, or never. A [Rule] derives from this what is
// certain, so that whatever it reports has happened, however slow the network was:
//
//   - over: units that were allowed beyond the limit within one window.
//   - early: units that a key was denied though its callers had not been told of so many.
//   - denied: of those, what tries without an answer, and answers that came for calls
//     answered otherwise, cannot explain either.
//   - uncounted: allowed units that the nodes do not know of.
//   - overcounted: units that the nodes count though nobody has asked for them.
package audit
