// Notes the gateway's id and the target of each request that it sees: server PORT LOG
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	log, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	var one sync.Mutex
	handler := func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if id == "" {
			id = "-"
		}
		one.Lock()
		fmt.Fprintf(log, "%s %s\n", id, r.RequestURI)
		one.Unlock()
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	}
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
