// Package envoy is the node's face for Envoy, on the gateways' gRPC port.
//
//   - envoy.service.ratelimit.v3: each descriptor with an entry api_key is a check of that key, in
//     the tier of an entry tier if there is one. Other entries change nothing.
//   - envoy.service.auth.v3 (ext_authz): the key is that of the request's Authorization: Bearer or
//     X-Api-Key. Tier and cost are context extensions, which are Envoy's and not its client's.
//
// What cannot be decided is an error of the call, so that Envoy's own failure mode applies.
package envoy
