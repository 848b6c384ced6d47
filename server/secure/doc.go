// Package secure says who may come to a port, and how: it knows files, certificates and
// tokens, and nothing of what is served there.
//
// A [Guard] is made of a [Port], which names files in PEM and a file of tokens. They are read
// again while [Guard.Watch] runs: what is found wrong then is logged, and what was good stays.
// A [Caller] is one connection; what is known of it is looked into once, and again when the
// files have changed and every minute, so that a certificate that has expired, or whose
// authority was withdrawn, is worth nothing a minute later on connections that are open.
package secure
