// Istio's HBONE server behind TLS as its echo server has it. A header of ours asks for a refusal, others come back in the 200.
package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"time"

	"istio.io/istio/pkg/hbone"
)

func runServer(credentials *credentials) {
	server := hbone.NewServer()
	istios := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, err := strconv.Atoi(r.Header.Get("x-refuse")); err == nil {
			w.WriteHeader(status)
			return
		}
		for _, name := range []string{"baggage", "traceparent", "forwarded"} {
			if values := r.Header.Values(name); len(values) > 0 {
				w.Header().Set(name, strings.Join(values, ", "))
			}
		}
		istios.ServeHTTP(w, r)
	})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", credentials.config())
	if err != nil {
		panic(err)
	}
	say(map[string]string{"address": listener.Addr().String()})
	go func() { _ = server.Serve(listener) }()
	serveCommands(func(c command) (any, error) {
		if c.Op == "shutdown" { // GOAWAY; open streams run on until the deadline
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return true, server.Shutdown(ctx)
		}
		return credentials.handshakes.Load(), nil
	})
}
