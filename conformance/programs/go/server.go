package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serve ADDRESS http1|h2c|CERTIFICATE KEY
func serve(arguments []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/mirror", mirror)
	mux.HandleFunc("/bytes", sized)
	mux.HandleFunc("/sse", events)
	mux.HandleFunc("/trailers", trailers)
	mux.HandleFunc("/early", early)
	mux.HandleFunc("/endless", endless)
	mux.HandleFunc("/next", func(_ http.ResponseWriter, r *http.Request) { channel("next", r) <- true })
	mux.HandleFunc("/gone", func(_ http.ResponseWriter, r *http.Request) { <-channel("gone", r) })
	mux.HandleFunc("/status/", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/"))
		w.Header().Set("Etag", `"e"`)
		w.WriteHeader(code)
	})
	server := http.Server{Addr: arguments[0], Handler: mux}
	switch {
	case len(arguments) == 3:
		return server.ListenAndServeTLS(arguments[1], arguments[2])
	case arguments[1] == "h2c":
		return servePriorKnowledge(&server)
	}
	return server.ListenAndServe()
}

func mirror(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if !bothWays(w, r) {
		whole, _ := io.ReadAll(r.Body)
		w.(http.Flusher).Flush()
		w.Write(whole)
		return
	}
	io.Copy(flushing{w}, r.Body)
}

// bothWays tells whether a body is read while the answer is written: over HTTP/1.1 since Go 1.21.
func bothWays(w http.ResponseWriter, r *http.Request) bool {
	if r.ProtoMajor == 2 {
		return true
	}
	full, can := w.(interface{ EnableFullDuplex() error })
	return can && full.EnableFullDuplex() == nil
}

func sized(w http.ResponseWriter, r *http.Request) {
	n := number(r, "n")
	w.Header().Set("Content-Type", "application/octet-stream")
	var from, to int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, n))
		n = to - from + 1
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.WriteHeader(206)
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	block := bytes.Repeat([]byte("x"), 1<<16)
	for n > 0 && r.Method != "HEAD" {
		if n < len(block) {
			block = block[:n]
		}
		wrote, err := w.Write(block)
		if err != nil {
			return
		}
		n -= wrote
	}
}

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for at := 0; at < number(r, "n"); at++ {
		if at > 0 && r.URL.Query().Has("key") {
			<-channel("next", r)
		} else if at > 0 {
			time.Sleep(time.Duration(number(r, "ms")) * time.Millisecond)
		}
		fmt.Fprintf(flushing{w}, "id: %d\ndata: event %d\n\n", at, at)
	}
}

func trailers(w http.ResponseWriter, r *http.Request) {
	read, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("Trailer", "X-Sum")
	fmt.Fprintf(flushing{w}, "%s\n", r.Trailer.Get("X-Up"))
	w.Header().Set("X-Sum", strconv.FormatInt(read, 10))
}

func early(w http.ResponseWriter, r *http.Request) {
	both := bothWays(w, r)
	w.Header().Set("Content-Length", "5")
	io.WriteString(flushing{w}, "early")
	if both {
		// Else the end of the connection could take the answer along.
		io.Copy(io.Discard, r.Body)
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil {
		io.WriteString(flushing{w}, "data: and so on\n\n")
		time.Sleep(10 * time.Millisecond)
	}
	channel("gone", r) <- true
}

var channels sync.Map

// channel is where requests with the same key meet.
func channel(kind string, r *http.Request) chan bool {
	found, _ := channels.LoadOrStore(kind+r.URL.Query().Get("key"), make(chan bool, 64))
	return found.(chan bool)
}

type flushing struct{ http.ResponseWriter }

func (w flushing) Write(part []byte) (int, error) {
	n, err := w.ResponseWriter.Write(part)
	w.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}
