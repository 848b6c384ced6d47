package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/server/secure"
)

// tlsFlags say how a command that calls a node does so.
type tlsFlags struct{ ca, cert, key string }

func (f *tlsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.ca, "tls-ca", "", "`file` with the CA of the node's certificate, in PEM; without it the call is not encrypted")
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "`file` with the certificate to show to the node")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "`file` with its key")
}

func (f *tlsFlags) credentials() (credentials.TransportCredentials, error) {
	if f.ca == "" {
		if f.cert != "" || f.key != "" {
			return nil, errors.New("--tls-ca: is required with --tls-cert and --tls-key")
		}
		return insecure.NewCredentials(), nil
	}
	roots, err := secure.ReadCA(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if f.cert != "" || f.key != "" {
		cert, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return credentials.NewTLS(c), nil
}
