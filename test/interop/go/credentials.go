// The mesh's TLS for either side: TLS 1.3, ALPN h2, the peer's chain ends at a root and names the expected SPIFFE ID.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
)

// credentials make TLS configurations and count handshakes that were admitted.
type credentials struct {
	certificate tls.Certificate
	roots       *x509.CertPool
	peer        string
	handshakes  atomic.Int64
}

func loadCredentials(directory, peer string) *credentials {
	file := func(name string) string { return filepath.Join(directory, name) }
	certificate, err := tls.LoadX509KeyPair(file("cert.pem"), file("key.pem"))
	if err != nil {
		panic(err)
	}
	pem, err := os.ReadFile(file("roots.pem"))
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		panic("no root in roots.pem")
	}
	return &credentials{certificate: certificate, roots: roots, peer: peer}
}

func (c *credentials) config() *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{c.certificate},
		NextProtos:         []string{"h2"},
		MinVersion:         tls.VersionTLS13,
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // names are SPIFFE IDs: VerifyConnection checks chain and ID
		VerifyConnection:   c.verify,
	}
}

func (c *credentials) verify(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	options := x509.VerifyOptions{Roots: c.roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != c.peer {
		return fmt.Errorf("the peer is %v, not %s", leaf.URIs, c.peer)
	}
	if state.NegotiatedProtocol != "h2" {
		return fmt.Errorf("ALPN gave %q, not h2", state.NegotiatedProtocol)
	}
	c.handshakes.Add(1)
	return nil
}
