//go:build !go1.24

package main

import (
	"errors"
	"net/http"
)

// http2Client speaks HTTP/2 to servers that offer it over TLS.
func http2Client(transport *http.Transport) {
	transport.ForceAttemptHTTP2 = true
}

func servePriorKnowledge(*http.Server) error {
	return errors.New("HTTP/2 without TLS needs Go 1.24")
}
