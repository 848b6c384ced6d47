// Package rpc is the face that gateways see: sluice.v1.RateLimiterService over gRPC.
//
// A call goes straight: the codec parses it (and keeps what is wrong with it for the
// handler), the handler checks its fields, the policy says which tier counts, the
// engine decides, and the decision is written into the answer. Errors are built in one
// place, with the details that design demands. When the call is over, its API keys are
// wiped from memory.
//
// The handlers replace the generated ones, which parse before anything of ours runs.
package rpc
