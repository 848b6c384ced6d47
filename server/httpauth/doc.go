// Package httpauth is the node's face for gateways that ask over HTTP.
//
//   - GET or POST /v1/auth decides a request by its headers, as forward-auth gateways ask: 200
//     lets it pass, anything else is what its client is to be told, by the API contract.
//   - DELETE /v1/leases/{id} ends a run that /v1/auth?lease=1 let in.
//   - POST /v1/check, /v1/acquire, /v1/renew and /v1/release are the gRPC methods in JSON. A denial
//     is a result there: 200 with "allowed": false.
//   - GET /v1/openapi.yaml describes all of it.
//
// A client of the API can set any header that its gateway passes on. So what decides how a request
// counts, its tier and cost, is taken only from callers that show one of the configured tokens,
// and they must set or remove these headers themselves.
package httpauth
