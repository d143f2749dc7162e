package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type pingStep struct {
	Step   string  `json:"step"`
	Target string  `json:"target"`
	Millis float64 `json:"ms"`
	Detail string  `json:"detail"`
	OK     bool    `json:"ok"`
}

func pingCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ping", Short: "Check the way to a cluster: DNS, TCP, protocol and every advertised address", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x, err := a.properties()
			if err != nil {
				return err
			}
			seeds := a.seeds(x)
			p := pinger{a: a}
			failure := p.run(c.Context(), seeds)
			if a.output == "table" && !a.verbose {
				for _, s := range p.steps {
					if !s.OK || s.Step == "cluster" {
						fmt.Fprintf(a.Out, "%s: %s\n", s.Target, s.Detail)
					}
				}
				return failure
			}
			err = show(a, p.steps,
				column[pingStep]{"STEP", false, func(s pingStep) string { return s.Step }},
				column[pingStep]{"TARGET", false, func(s pingStep) string { return s.Target }},
				column[pingStep]{"MS", false, func(s pingStep) string { return strconv.FormatFloat(s.Millis, 'f', 1, 64) }},
				column[pingStep]{"DETAIL", false, func(s pingStep) string { return s.Detail }})
			if failure != nil {
				return failure
			}
			return err
		},
	}
}

// pinger walks the way to a cluster and keeps what it saw.
type pinger struct {
	a     *app
	steps []pingStep
}

func (p *pinger) step(step, target string, do func() (string, error)) error {
	begin := time.Now()
	detail, err := do()
	s := pingStep{step, target, float64(time.Since(begin).Microseconds()) / 1000, detail, err == nil}
	if err != nil {
		s.Detail = dialReason(err)
	}
	p.steps = append(p.steps, s)
	return err
}

func (p *pinger) dial(ctx context.Context, address string) error {
	host, _, _ := net.SplitHostPort(address)
	if net.ParseIP(host) == nil {
		err := p.step("dns", host, func() (string, error) {
			all, err := net.DefaultResolver.LookupHost(ctx, host)
			return fmt.Sprint(all), err
		})
		if err != nil {
			return err
		}
	}
	return p.step("tcp", address, func() (string, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return "from " + conn.LocalAddr().String(), nil
	})
}

func (p *pinger) run(ctx context.Context, seeds []string) error {
	ctx, cancel := context.WithTimeout(ctx, p.a.timeout)
	defer cancel()
	reached := 0
	var last error
	for _, seed := range seeds {
		if err := p.dial(ctx, seed); err != nil {
			last = unreachable(seed, err)
			continue
		}
		reached++
	}
	if reached == 0 {
		return last
	}
	cl, err := p.a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	err = p.step("protocol", seeds[0], func() (string, error) {
		resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d APIs", len(resp.ApiKeys)), nil
	})
	if err != nil {
		return err
	}
	var meta kadm.Metadata
	err = p.step("cluster", seeds[0], func() (string, error) {
		meta, err = kadm.NewClient(cl).BrokerMetadata(ctx)
		return fmt.Sprintf("cluster %s, %d brokers, controller %d", meta.Cluster, len(meta.Brokers), meta.Controller), err
	})
	if err != nil {
		return err
	}
	return p.advertised(ctx, meta, len(seeds)-reached)
}

// advertised dials what the brokers tell clients to dial: the address most
// often wrong.
func (p *pinger) advertised(ctx context.Context, meta kadm.Metadata, lost int) error {
	var failed []error
	for _, b := range meta.Brokers {
		address := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if err := p.dial(ctx, address); err != nil {
			failed = append(failed, &fault{exitUnreachable, fmt.Sprintf("broker %d tells clients to use %s, and that cannot be reached from here: %s; set advertised.listeners on that broker to an address clients can reach", b.NodeID, address, dialReason(err))})
		}
	}
	if len(failed) == 0 && lost > 0 {
		return &fault{exitPartial, fmt.Sprintf("%d of the addresses given with -b did not answer", lost)}
	}
	return partial(len(meta.Brokers)-len(failed), failed)
}
