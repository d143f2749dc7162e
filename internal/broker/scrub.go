package broker

import (
	"context"
	"sync"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/metrics"
)

// scrubbers verify what the log directories hold, each at its own pace.
type scrubbers []scrubber

type scrubber struct {
	home *commitlog.Home
	*commitlog.Scrubber
}

// newScrubbers makes one for each directory; none if the rate is 0.
func (b *Broker) newScrubbers(props *config.Broker) scrubbers {
	rate := props.Int64("log.scrub.bytes.per.second")
	if rate == 0 {
		return nil
	}
	var out scrubbers
	for _, h := range b.dirs.homes {
		out = append(out, scrubber{h, commitlog.NewScrubber(commitlog.ScrubConfig{
			Home: h, BytesPerSecond: rate, Interval: props.Millis("log.scrub.interval.ms"), Now: b.cfg.Now, Logger: b.logger,
		})})
	}
	return out
}

// run scrubs all directories until ctx ends.
func (s scrubbers) run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, one := range s {
		all.Go(func() { _ = one.Run(ctx) }) // it ends without an error
	}
	<-ctx.Done()
	all.Wait()
	return nil
}

// figures are what the metrics say of it.
func (s scrubbers) figures() []metrics.Scrubber {
	out := make([]metrics.Scrubber, 0, len(s))
	for _, one := range s {
		f := one.Stats()
		m := metrics.Scrubber{Dir: one.home.Path(), Bytes: f.Bytes, Mended: f.Mended, Damaged: f.Damaged, Ranges: one.home.Damaged()}
		if !f.LastPass.IsZero() {
			m.LastPass = float64(f.LastPass.UnixMilli()) / 1000
		}
		out = append(out, m)
	}
	return out
}
