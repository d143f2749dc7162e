package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// median of some numbers; the mean of the middle two where their count is even.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// number prints three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// spread prints a median with the least and the greatest.
func spread(v []float64) string {
	if len(v) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s [%s-%s]", number(median(v)), number(slices.Min(v)), number(slices.Max(v)))
}

// verdict holds a metric's limit against the samples.
type verdict struct {
	ratio  string
	result string // pass, MISS, or why there is none
}

func (r *result) judge(metric int, l limit) verdict {
	if l.or != nil {
		or := *l.or
		l.or = nil
		a, b := r.judge(metric, l), r.judge(metric, or)
		out := verdict{a.ratio + ", " + b.ratio, a.result}
		if a.result != "pass" {
			out.result = b.result
		}
		return out
	}
	values := func(side string) []float64 {
		if m := r.samples[side]; m != nil {
			return m[metric]
		}
		return nil
	}
	own := values("myelin")
	if len(own) == 0 {
		return verdict{"-", "not measured"}
	}
	bound, ratio := l.factor, ""
	if l.of != "" {
		with := values(l.of)
		if len(with) == 0 {
			return verdict{"-", "no " + l.of}
		}
		bound *= median(with)
		ratio = number(median(own)/median(with)) + " x"
	}
	if median(own) <= bound != l.atLeast || median(own) == bound {
		return verdict{ratio, "pass"}
	}
	return verdict{ratio, "MISS"}
}

const lineForm = "%-8s %-52s %-11s %-24s %-24s %-20s %-8s %-18s %s\n"

// report prints the table and tells whether every limit that could be judged
// holds.
func report(w io.Writer, results []*result) (ok bool) {
	ok = true
	fmt.Fprintf(w, "\n"+lineForm, "row", "work", "unit", "myelin", "kafka", "floor", "ratio", "limit", "")
	for _, r := range results {
		for i, m := range r.row.metrics {
			side := func(name string) string {
				if s := r.samples[name]; s != nil {
					return spread(s[i])
				}
				return "-"
			}
			if len(m.limits) == 0 {
				fmt.Fprintf(w, lineForm, r.row.id, r.row.work, m.name+" "+m.unit, side("myelin"), side("kafka"), side("floor"), "", "none", "")
			}
			for j, l := range m.limits {
				v := r.judge(i, l)
				ok = ok && v.result != "MISS"
				work, unit := r.row.work, m.unit
				if m.name != "CPU" && m.name != "rate" {
					unit = m.name + " " + unit
				}
				if j > 0 {
					work = ""
				}
				fmt.Fprintf(w, lineForm, r.row.id, work, unit, side("myelin"), side("kafka"), side("floor"), v.ratio, l, v.result)
			}
			if p := r.samples["plain"]; p != nil && len(p[i]) > 0 {
				fmt.Fprintf(w, "%-8s plain: %s %s\n", "", side("plain"), m.unit)
			}
		}
		if r.note != "" {
			fmt.Fprintf(w, "%-8s %s\n", "", strings.ReplaceAll(r.note, "\n", "\n      "))
			ok = ok && !strings.HasPrefix(r.note, "failed")
		}
	}
	return ok
}

// preface prints what the figures depend on: the machine, and each row's work.
func preface(w io.Writer, s *session, chosen []*row) {
	first := func(path, def string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			return def
		}
		return strings.TrimSpace(string(data))
	}
	cpu := "unknown processor"
	for line := range strings.SplitSeq(first("/proc/cpuinfo", ""), "\n") {
		if _, name, ok := strings.Cut(line, "model name\t: "); ok {
			cpu = name
			break
		}
	}
	fmt.Fprintf(w, "%s, %d processors, Linux %s, %s, TCP %s, %s\n", cpu, runtime.NumCPU(),
		first("/proc/sys/kernel/osrelease", "?"), runtime.Version(),
		first("/proc/sys/net/ipv4/tcp_congestion_control", "?"), time.Now().UTC().Format(time.RFC3339))
	fmt.Fprintf(w, "medians [least-greatest] of %d; GB = 1e9 bytes; CPU is the broker's own, user and system\n\n", s.times)
	fmt.Fprintf(w, "%-8s %5s %10s %6s  %-13s %-12s %-18s %s\n", "row", "conns", "partitions", "window", "request", "batch", "holding", "topic configs")
	for _, r := range chosen {
		fmt.Fprintln(w, r.describe())
	}
	fmt.Fprintln(w)
}
