package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/secure"
)

// portFlags say who may come to a node's ports.
type portFlags struct {
	gateways, peer, admin secure.Port
	httpAllow             []string
	most                  int
}

func (f *portFlags) add(to *pflag.FlagSet) {
	port := func(p *secure.Port, prefix, whose string) {
		to.StringVar(&p.Cert, prefix+"tls-cert", "", "`file` in PEM with the certificate that "+whose+" see: then the port speaks TLS 1.3 only; files of certificates, keys and tokens are read again when they change")
		to.StringVar(&p.Key, prefix+"tls-key", "", "`file` in PEM with its key")
		to.StringVar(&p.CA, prefix+"tls-ca", "", "`file` in PEM with the authorities that sign the certificates of "+whose+", which then must have one")
	}
	port(&f.gateways, "", "gateways")
	to.StringSliceVar(&f.gateways.Allow, "grpc-allow", nil, "`names`, DNS or URI, one of which a certificate must have to come to --grpc; *.example.com is any one label (default any)")
	to.StringVar(&f.gateways.TokenFile, "grpc-token-file", "", "`file` with tokens, one a line, of which a caller of --grpc may show one in place of a certificate")
	to.StringSliceVar(&f.httpAllow, "http-allow", nil, "`names`, one of which a certificate must have to come to --http (default any)")
	port(&f.peer, "peer-", "other nodes")
	to.StringSliceVar(&f.peer.Allow, "peer-allow", nil, "`names`, one of which a certificate must have to be another node's (default any)")
	port(&f.admin, "admin-", "operators")
	to.StringSliceVar(&f.admin.Allow, "admin-allow", nil, "`names`, one of which a certificate must have to be an operator's (default any)")
	to.StringVar(&f.admin.TokenFile, "admin-token-file", "", "`file` with tokens, one a line, of which an operator may show one in place of a certificate")
	to.IntVar(&f.most, "max-connections", server.DefaultMaxConnections, "connections of each port at a time: those beyond are closed at once")
}

func (f *portFlags) ports() server.Ports {
	http := f.gateways
	http.Allow, http.TokenFile = f.httpAllow, ""
	return server.Ports{GRPC: f.gateways, HTTP: http, Peer: f.peer, Admin: f.admin, MaxConnections: f.most}
}

// doorFlags say how a command comes to a node's port.
type doorFlags struct{ secure.Door }

func (f *doorFlags) add(to *pflag.FlagSet, prefix string) {
	to.BoolVar(&f.Encrypted, prefix+"tls", false, "speak TLS to the node, and trust whom the system trusts")
	to.StringVar(&f.CA, prefix+"tls-ca", "", "`file` in PEM with the authorities that sign the node's certificate: speak TLS")
	to.StringVar(&f.Cert, prefix+"tls-cert", "", "`file` in PEM with the certificate to show the node")
	to.StringVar(&f.Key, prefix+"tls-key", "", "`file` in PEM with its key")
	to.StringVar(&f.Name, prefix+"tls-name", "", "`name` in the node's certificate (default the host that is asked)")
	to.StringVar(&f.TokenFile, prefix+"token-file", "", "`file` with the token to show the node")
}

// options are for a client of the gateways' port.
func (f *doorFlags) options() (options []client.Option, err error) {
	config, err := f.TLS()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if config != nil {
		options = append(options, client.WithTLS(config))
	}
	token, err := f.Token()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if token != nil {
		options = append(options, client.WithToken(token))
	}
	return options, nil
}

// dial are options to dial the operators' port.
func (f *doorFlags) dial() ([]grpc.DialOption, error) {
	config, err := f.TLS()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	token, err := f.Token()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if token != nil {
		options = append(options, grpc.WithPerRPCCredentials(client.Token(token)))
	}
	return options, nil
}
