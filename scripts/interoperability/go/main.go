// Servers and clients of Go: net/http, and gRPC.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	commands := map[string]func([]string) error{
		"serve":      serve,
		"call":       call,
		"grpc-serve": grpcServe,
		"grpc-call":  grpcCall,
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve ADDRESS [http1|h2c|CERTIFICATE KEY]: the endpoints of the upstream that the gateway's own tests use.
func serve(arguments []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/mirror", func(w http.ResponseWriter, r *http.Request) {
		// An upload is read while the answer is written.
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/octet-stream")
		io.Copy(flushing{w}, r.Body)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n := number(r, "n")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		block := bytes.Repeat([]byte("x"), 1<<16)
		for n > 0 && r.Method != "HEAD" {
			wrote, err := w.Write(block[:min(n, len(block))])
			if err != nil {
				return
			}
			n -= wrote
		}
	})
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for at := range number(r, "n") {
			if at > 0 {
				time.Sleep(time.Duration(number(r, "ms")) * time.Millisecond)
			}
			fmt.Fprintf(flushing{w}, "id: %d\ndata: event %d\n\n", at, at)
		}
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "early")
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	server := http.Server{Addr: arguments[0], Handler: mux, Protocols: new(http.Protocols)}
	if len(arguments) == 3 {
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(true)
		return server.ListenAndServeTLS(arguments[1], arguments[2])
	}
	server.Protocols.SetHTTP1(arguments[1] == "http1")
	server.Protocols.SetUnencryptedHTTP2(arguments[1] == "h2c")
	return server.ListenAndServe()
}

type flushing struct{ http.ResponseWriter }

func (w flushing) Write(part []byte) (int, error) {
	n, err := w.ResponseWriter.Write(part)
	http.NewResponseController(w.ResponseWriter).Flush()
	return n, err
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

type request struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    int               `json:"body"`
	Chunked bool              `json:"chunked"`
	HTTP2   bool              `json:"http2"`
}

type answer struct {
	Status  int               `json:"status"`
	Length  int64             `json:"length"`
	Sum     string            `json:"sum"`
	Headers map[string]string `json:"headers"`
	First   float64           `json:"first"`
	Whole   float64           `json:"whole"`
	Error   string            `json:"error,omitempty"`
}

// call CA: one request for each line of JSON, one line of JSON for each answer.
func call(arguments []string) error {
	pem, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	clients := map[bool]*http.Client{}
	for _, http2 := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!http2)
		protocols.SetHTTP2(http2)
		protocols.SetUnencryptedHTTP2(http2)
		clients[http2] = &http.Client{
			Transport: &http.Transport{
				Protocols:             protocols,
				TLSClientConfig:       &tls.Config{RootCAs: roots},
				DisableCompression:    true,
				ExpectContinueTimeout: 10 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		got, err := ask(clients[asked.HTTP2], asked)
		if err != nil {
			got.Error = err.Error()
		}
		line, _ := json.Marshal(got)
		fmt.Println(string(line))
	}
	return lines.Err()
}

func ask(client *http.Client, asked request) (answer, error) {
	var got answer
	var body io.Reader
	if asked.Body > 0 {
		body = strings.NewReader(strings.Repeat("x", asked.Body))
		if asked.Chunked {
			body = io.NopCloser(body)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, asked.Method, asked.URL, body)
	if err != nil {
		return got, err
	}
	for name, value := range asked.Headers {
		r.Header.Set(name, value)
	}
	began := time.Now()
	response, err := client.Do(r)
	if err != nil {
		return got, err
	}
	defer response.Body.Close()
	got.Status, got.Headers = response.StatusCode, map[string]string{}
	for name, values := range response.Header {
		got.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	sum, part := sha256.New(), make([]byte, 1<<16)
	for {
		n, err := response.Body.Read(part)
		if n > 0 && got.Length == 0 {
			got.First = time.Since(began).Seconds()
		}
		got.Length += int64(n)
		sum.Write(part[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return got, err
		}
	}
	got.Sum, got.Whole = hex.EncodeToString(sum.Sum(nil)), time.Since(began).Seconds()
	return got, nil
}
