// Package admin is the face that operators see: sluice.admin.v1.AdminService over gRPC and, on
// the same port over HTTP, metrics, profiles and a page for people, package statusz.
//
// A [Cluster] gathers what the nodes say of themselves, of a key or of their leases; this
// package checks requests, finds out who a key is (its identity and its tier) and writes
// what it is told into the answer. It decides nothing and keeps nothing.
//
// API keys come in some requests. They are hashed at once, go no further, and show in no
// log and no error. Unlike the face for gateways this one does not overwrite the memory
// that they came in: it is asked by hand, now and then.
package admin
