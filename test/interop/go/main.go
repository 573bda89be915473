// Istio's Go implementation of HBONE as a peer of the tests: `client` or `server`, JSON lines on standard input and output.
// Certificates (cert.pem, key.pem, roots.pem) are in -certs, the SPIFFE ID that the other side must have is -peer.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"

	istiolog "istio.io/istio/pkg/log"
)

// command is one line of standard input; a mode uses the fields that it needs.
type command struct {
	ID        int               `json:"id"`
	Op        string            `json:"op"`
	Proxy     string            `json:"proxy"`
	Authority string            `json:"authority"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	Bytes     int               `json:"bytes"`
	Streams   int               `json:"streams"`
}

var output sync.Mutex

// say prints one line of JSON.
func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

// serveCommands answers {id, result} or {id, error} to each line, in any order, until standard input ends.
func serveCommands(run func(command) (any, error)) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		go func() {
			result, err := run(c)
			if err != nil {
				say(map[string]any{"id": c.ID, "error": err.Error()})
				return
			}
			say(map[string]any{"id": c.ID, "result": result})
		}()
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: peer client|server -certs DIR -peer SPIFFE-ID")
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	certs := flags.String("certs", "", "directory with cert.pem, key.pem and roots.pem")
	peer := flags.String("peer", "", "SPIFFE ID of the other side")
	_ = flags.Parse(os.Args[2:])
	logging := istiolog.DefaultOptions()
	logging.OutputPaths = []string{"stderr"}
	logging.SetDefaultOutputLevel(istiolog.OverrideScopeName, istiolog.ErrorLevel)
	if err := istiolog.Configure(logging); err != nil {
		panic(err)
	}
	credentials := loadCredentials(*certs, *peer)
	switch os.Args[1] {
	case "client":
		runClient(credentials)
	case "server":
		runServer(credentials)
	default:
		os.Exit(2)
	}
}
