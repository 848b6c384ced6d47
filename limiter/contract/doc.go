// Package contract is the API contract as code: what a client of the API sees
// of an error and of a rate limit, byte for byte. The prose is docs/contract.md.
//
//   - The catalogue: each error [Code] with its status, category, default
//     message, and whether and how a client may retry ([Catalogue], [Lookup]).
//   - The error body: [WriteError] writes it, [ParseBody] recognizes it.
//   - The task that failed after its request was answered: [FailedTask].
//   - The headers of a decision: [RateLimit].
//
// Whoever denies a request sets the headers first and then writes the error:
// WriteError keeps what it finds.
//
// The package holds no state, reads no clock and draws no random number. It
// imports only the standard library, so that any gateway can import it.
package contract
