package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func healthCmd(a *app) *cobra.Command {
	var (
		admin       string
		live, ready bool
	)
	c := &cobra.Command{
		Use: "health", Short: "Ask a broker's admin address whether it is well, for probes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if live && ready {
				return usage("--live and --ready: one of them")
			}
			path := "/readyz"
			if live {
				path = "/livez"
			}
			return probe(a, c.Context(), admin, path)
		},
	}
	f := c.Flags()
	f.StringVar(&admin, "admin", "127.0.0.1:9644", "the broker's admin.listener")
	f.BoolVar(&live, "live", false, "only whether the process lives")
	f.BoolVar(&ready, "ready", false, "whether it serves (the default)")
	return c
}

func probe(a *app, ctx context.Context, admin, path string) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+path, nil)
	if err != nil {
		return usage("--admin %s: %s", admin, oneLine(err))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return unreachable(admin, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	text := strings.TrimSpace(string(body))
	if resp.StatusCode/100 != 2 {
		return &fault{exitFailed, fmt.Sprintf("%s%s says %s: %s", admin, path, resp.Status, text)}
	}
	fmt.Fprintln(a.Out, text)
	return nil
}
