package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// adminServer answers over HTTP what machines ask of a node:
//
//	/livez     the process runs; never asks the quorum
//	/readyz    clients are served: registered, logs open; log directories that
//	           are offline are named, the others are served all the same
//	/metrics   Prometheus text
//
// /startupz, /v1/status/ready and /v1/ready are other names of /readyz, which
// probes written for other brokers use.
type adminServer struct {
	ln      net.Listener
	ready   <-chan struct{}
	metrics http.Handler
	offline func() []string // log directories that failed
}

func (a *adminServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		select { //house:select two cases, one of them default
		case <-a.ready:
			w.Write([]byte("ok\n"))
			for _, dir := range a.offline() {
				fmt.Fprintf(w, "log directory offline: %s\n", dir)
			}
		default:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		}
	}
	for _, path := range []string{"/readyz", "/startupz", "/v1/status/ready", "/v1/ready"} {
		mux.HandleFunc("GET "+path, ready)
	}
	mux.Handle("GET /metrics", a.metrics)
	return mux
}

// run serves until ctx ends.
func (a *adminServer) run(ctx context.Context) error {
	srv := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(a.ln) }()
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := srv.Shutdown(limit)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
