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
	"strings"
	"time"
)

type request struct {
	URL      string            `json:"url"`
	Method   string            `json:"method"`
	Headers  map[string]string `json:"headers"`
	Body     int               `json:"body"`
	Chunked  bool              `json:"chunked"`
	Trailers bool              `json:"trailers"`
	By       string            `json:"by"`
	Next     string            `json:"next"`
	Gone     string            `json:"gone"`
}

type answer struct {
	Status   int               `json:"status"`
	Length   int64             `json:"length"`
	Sum      string            `json:"sum"`
	Headers  map[string]string `json:"headers"`
	Trailers map[string]string `json:"trailers"`
	Protocol string            `json:"protocol"`
	First    float64           `json:"first"`
	Whole    float64           `json:"whole"`
	Error    string            `json:"error,omitempty"`
}

// call CA
func call(arguments []string) error {
	pem, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	clients := map[string]*http.Client{}
	for _, by := range []string{"http", "http2"} {
		transport := &http.Transport{
			TLSClientConfig:       &tls.Config{RootCAs: roots},
			TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
			DisableCompression:    true,
			ExpectContinueTimeout: time.Minute,
		}
		if by == "http2" {
			transport.TLSNextProto = nil
			http2Client(transport)
		}
		clients[by] = &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		got, err := ask(clients[asked.By], asked)
		if err != nil {
			got.Error = err.Error()
		}
		line, _ := json.Marshal(got)
		fmt.Println(string(line))
	}
	return lines.Err()
}

func ask(client *http.Client, asked request) (got answer, err error) {
	ctx, leave := context.WithTimeout(context.Background(), time.Minute)
	defer leave()
	r, err := build(ctx, asked)
	if err != nil {
		return got, err
	}
	began := time.Now()
	response, err := client.Do(r)
	if err != nil {
		return got, err
	}
	defer response.Body.Close()
	got.Status, got.Headers, got.Protocol = response.StatusCode, flat(response.Header), response.Proto
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
		if n > 0 && asked.Gone != "" {
			leave()
			return got, simple(client, asked, asked.Gone)
		}
		for events := bytes.Count(part[:n], []byte("\n\n")); asked.Next != "" && events > 0; events-- {
			if err := simple(client, asked, asked.Next); err != nil {
				return got, err
			}
		}
	}
	got.Trailers = flat(response.Trailer)
	got.Sum, got.Whole = hex.EncodeToString(sum.Sum(nil)), time.Since(began).Seconds()
	return got, nil
}

func build(ctx context.Context, asked request) (*http.Request, error) {
	var body io.Reader
	if asked.Body > 0 {
		body = strings.NewReader(strings.Repeat("x", asked.Body))
		if asked.Chunked {
			body = io.NopCloser(body)
		}
	}
	r, err := http.NewRequestWithContext(ctx, asked.Method, asked.URL, body)
	if err != nil {
		return nil, err
	}
	for name, value := range asked.Headers {
		r.Header.Set(name, value)
	}
	if asked.Trailers {
		r.Header.Set("Te", "trailers")
		r.Trailer = http.Header{"X-Up": {"up"}}
	}
	return r, nil
}

// simple asks for something beside the request.
func simple(client *http.Client, asked request, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := build(ctx, request{URL: url, Method: "GET", Headers: asked.Headers})
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	if response.StatusCode != 200 {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func flat(fields http.Header) map[string]string {
	all := map[string]string{}
	for name, values := range fields {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return all
}
