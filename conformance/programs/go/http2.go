//go:build go1.24

package main

import "net/http"

// http2Client speaks nothing but HTTP/2, without TLS too.
func http2Client(transport *http.Transport) {
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
}

// servePriorKnowledge speaks HTTP/2 alone, without TLS.
func servePriorKnowledge(server *http.Server) error {
	server.Protocols = new(http.Protocols)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.ListenAndServe()
}
