// Istio's HBONE dialer as a client. It cannot half-close and sends no headers of its own, so these two are asked of the HTTP/2
// transport below it.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"istio.io/istio/pkg/hbone"
)

func runClient(credentials *credentials) {
	dialers := map[string]hbone.Dialer{}
	transport := &http2.Transport{TLSClientConfig: credentials.config()}
	var lock sync.Mutex
	dialer := func(proxy string) hbone.Dialer {
		lock.Lock()
		defer lock.Unlock()
		if dialers[proxy] == nil {
			timeout := 5 * time.Second
			dialers[proxy] = hbone.NewDialer(hbone.Config{ProxyAddress: proxy, TLS: credentials.config(), Timeout: &timeout})
		}
		return dialers[proxy]
	}
	serveCommands(func(c command) (any, error) {
		switch c.Op {
		case "echo":
			err := all(c.Streams, func(stream int) error { return echo(dialer(c.Proxy), c, int64(stream)) })
			return credentials.handshakes.Load(), err
		case "read":
			return read(dialer(c.Proxy), c)
		case "connect":
			return connect(transport, c)
		case "digest":
			return digest(transport, c)
		}
		return nil, errors.New("no such op")
	})
}

// all runs streams at once and gives their first error.
func all(streams int, run func(stream int) error) error {
	results := make(chan error, streams)
	for stream := range streams {
		go func() { results <- run(stream) }()
	}
	var first error
	for range streams {
		if err := <-results; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// echo sends random bytes and expects the same back, both at once.
func echo(dialer hbone.Dialer, c command, seed int64) error {
	connection, err := dialer.Dial("tcp", c.Authority)
	if err != nil {
		return err
	}
	defer connection.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(connection, rand.New(rand.NewSource(seed)), int64(c.Bytes))
		sent <- err
	}()
	expected := rand.New(rand.NewSource(seed))
	got, want := make([]byte, 64*1024), make([]byte, 64*1024)
	for at := 0; at < c.Bytes; {
		n, err := connection.Read(got[:min(len(got), c.Bytes-at)])
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		if _, err := io.ReadFull(expected, want[:n]); err != nil {
			return err
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("other bytes after %d", at)
		}
		at += n
	}
	return <-sent
}

// read gives length and SHA-256 of what the server sends until it ends the stream.
func read(dialer hbone.Dialer, c command) (any, error) {
	connection, err := dialer.Dial("tcp", c.Authority)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, connection)
	return fmt.Sprintf("%d %s", n, hex.EncodeToString(hash.Sum(nil))), err
}

// connect gives status and headers of the answer to a CONNECT (or another method).
func connect(transport *http2.Transport, c command) (any, error) {
	body, end := io.Pipe()
	response, err := request(transport, c, body)
	if err != nil {
		return nil, err
	}
	_ = end.Close()
	defer response.Body.Close()
	headers := map[string]string{}
	for name := range response.Header {
		headers[http.CanonicalHeaderKey(name)] = response.Header.Get(name)
	}
	return map[string]any{"status": response.StatusCode, "headers": headers}, nil
}

// digest sends random bytes, ends its half, and then reads: {sent: "LENGTH SHA-256", answer}.
func digest(transport *http2.Transport, c command) (any, error) {
	body, end := io.Pipe()
	response, err := request(transport, c, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(end, hash), rand.New(rand.NewSource(1)), int64(c.Bytes)); err != nil {
		return nil, err
	}
	_ = end.Close()
	answer, err := io.ReadAll(response.Body)
	sent := fmt.Sprintf("%d %s", c.Bytes, hex.EncodeToString(hash.Sum(nil)))
	return map[string]string{"sent": sent, "answer": string(answer)}, err
}

func request(transport *http2.Transport, c command, body io.Reader) (*http.Response, error) {
	method := c.Method
	if method == "" {
		method = http.MethodConnect
	}
	r, err := http.NewRequest(method, "https://"+c.Proxy, body)
	if err != nil {
		return nil, err
	}
	r.Host = c.Authority
	for name, value := range c.Headers {
		r.Header.Set(name, value)
	}
	return transport.RoundTrip(r)
}
