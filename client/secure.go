package client

import (
	"context"
	"crypto/tls"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// WithTLS has the client speak TLS. The certificates of the nodes must be good for the
// addresses that they advertise, or for the config's ServerName.
func WithTLS(config *tls.Config) Option {
	return WithDialOptions(grpc.WithTransportCredentials(credentials.NewTLS(config)))
}

// WithToken has each call show the token that token returns then, as a node may ask for. It is
// called from many goroutines, and must not block. Without TLS whoever is on the way can read it.
func WithToken(token func() string) Option {
	return WithDialOptions(grpc.WithPerRPCCredentials(Token(token)))
}

// A Token shows what it returns, as gRPC's credentials of calls do.
type Token func() string

// GetRequestMetadata returns the header with the token.
func (t Token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + t()}, nil
}

// RequireTransportSecurity tells that a token may go in plain text, as over loopback.
func (t Token) RequireTransportSecurity() bool { return false }
