package broker

import (
	"github.com/myelin-stream/myelin/internal/compact"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/replica"
)

func (b *Broker) newCompactor(props *config.Broker) *compact.Compactor {
	return compact.New(compact.Config{
		Logs: b.compacted, Settings: cleaning(props), Now: b.cfg.Now, Rand: b.dice(),
		Logger: b.logger.With("component", "compact"),
	})
}

// compacted shows the compactor the logs that this broker holds.
func (b *Broker) compacted(visit func(compact.Target)) {
	b.replicas.Each(func(r *replica.Replica) {
		if log, stable, hw, ok := r.Cleanable(); ok {
			visit(compact.Target{Log: log, Stable: stable, HW: hw})
		}
	})
}

// cleaning are the properties of compaction as they are now.
func cleaning(props *config.Broker) compact.Settings {
	return compact.Settings{
		Off:            !props.Bool("log.cleaner.enable") || props.Int("log.cleaner.threads") == 0,
		Threads:        props.Int("log.cleaner.threads"),
		Buffer:         props.Int64("log.cleaner.dedupe.buffer.size"),
		Load:           props.Float("log.cleaner.io.buffer.load.factor"),
		BytesPerSecond: props.Float("log.cleaner.io.max.bytes.per.second"),
		Backoff:        atLeastOne(props.Millis("log.cleaner.backoff.ms")),
	}
}

// compactionFigures are what the metrics say of compaction.
func (b *Broker) compactionFigures() metrics.Cleaner {
	f := b.compactor.Figures()
	out := metrics.Cleaner{
		MaxDirtyPercent: f.MaxDirtyPercent, MaxCompactionDelay: f.MaxCompactionDelay.Seconds(),
		MaxCleanTime: float64(f.Last.Millis) / 1000, MaxBufferUtilization: int(100 * f.Last.Fill),
		SinceLastRunMs: -1,
	}
	if f.Last.ReadBytes > 0 {
		out.RecopyPercent = int(100 * f.Last.WrittenBytes / f.Last.ReadBytes)
	}
	if !f.LastRun.IsZero() {
		out.SinceLastRunMs = b.cfg.Now().Sub(f.LastRun).Milliseconds()
	}
	for _, d := range b.dirs.data {
		at := metrics.CleanerDir{Dir: d.Home.Path()}
		for _, u := range f.Uncleanable {
			if u.Dir == at.Dir {
				at.Partitions++
				at.Bytes += u.Bytes
			}
		}
		out.Dirs = append(out.Dirs, at)
	}
	return out
}
