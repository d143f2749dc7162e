package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// places collects what the controller is to be told of this node's log
// directories: where replicas are, which directories failed, which are cordoned.
//
// It is made before the parts that it speaks for, which feed it.
type places struct {
	self     int32
	dirs     *directories
	metadata *metadata.Metadata
	replicas *replica.Table
	now      func() time.Time
	logger   *slog.Logger

	wake chan struct{} // one element

	mu struct {
		sync.Mutex // memory only
		placed     []replica.Placed
		report     bool // directories failed or were cordoned
	}
}

func newPlaces(cfg *Config) *places {
	p := &places{self: cfg.Properties.NodeID(), now: cfg.Now, logger: cfg.Logger, wake: make(chan struct{}, 1)}
	p.mu.report = true // what the process begins with
	return p
}

// add notes where replicas are.
func (p *places) add(list []replica.Placed) {
	p.mu.Lock()
	p.mu.placed = append(p.mu.placed, list...)
	p.mu.Unlock()
	p.rouse()
}

// changed notes that directories failed or were cordoned.
func (p *places) changed() {
	p.mu.Lock()
	p.mu.report = true
	p.mu.Unlock()
	p.rouse()
}

func (p *places) rouse() {
	select { //house:select two cases, one of them default
	case p.wake <- struct{}{}:
	default: // it is awake
	}
}

// take takes out what is to be told.
func (p *places) take() (placed []replica.Placed, report bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	placed, report = p.mu.placed, p.mu.report
	p.mu.placed, p.mu.report = nil, false
	return placed, report
}

// tellFor is how long one try may take.
const tellFor = 5 * time.Second

// tellAgain is how long what the controller did not take is kept back.
const tellAgain = 200 * time.Millisecond

// run is the activity that tells the controller. It ends the node when a
// failed directory stays untold for log.dir.failure.timeout.ms: others would go
// on to take this node for the leader of what it lost.
func (p *places) run(ctx context.Context) error {
	if err := p.metadata.Ready(ctx); err != nil {
		return nil // ctx ended
	}
	var (
		since  time.Time // of the first failure
		placed []replica.Placed
		report bool
	)
	for {
		more, again := p.take()
		placed, report = append(placed, more...), report || again
		once, cancel := context.WithTimeout(ctx, tellFor)
		err := p.tell(once, placed, report)
		cancel()
		wait := tellAgain
		switch now := p.now(); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			placed, report, since, wait = nil, false, time.Time{}, 24*time.Hour
		case since.IsZero():
			p.logger.Warn("the controller was not told of log directories, it is tried again", "error", err)
			since = now
		case len(p.dirs.lost()) > 0 && now.Sub(since) > p.metadata.Properties().Millis("log.dir.failure.timeout.ms"):
			return fmt.Errorf("the controller could not be told of failed log directories for %v: %w", now.Sub(since), err)
		}
		if err := p.rest(ctx, wait); err != nil {
			return nil
		}
	}
}

// rest waits for more to tell, or for the time to try again.
func (p *places) rest(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	//house:select whatever comes, the caller looks at everything again
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.wake:
	case <-timer.C:
	}
	return nil
}

// tell sends it. A partition that is not known any more has gone meanwhile.
func (p *places) tell(ctx context.Context, placed []replica.Placed, report bool) error {
	if report {
		if err := p.metadata.ReportDirs(ctx, p.dirs.lost(), p.cordoned()); err != nil {
			return err
		}
	}
	if len(placed) == 0 {
		return nil
	}
	req := assignments(placed)
	req.BrokerID, req.BrokerEpoch = p.self, p.metadata.BrokerEpoch()
	if code := kafka.Code(p.metadata.AssignReplicasToDirs(ctx, req).ErrorCode); code != kafka.None {
		return code
	}
	return nil
}

// assignments is the request that says where replicas are.
func assignments(placed []replica.Placed) *msg.AssignReplicasToDirsRequest {
	slices.SortStableFunc(placed, func(x, y replica.Placed) int {
		if c := bytes.Compare(x.Dir[:], y.Dir[:]); c != 0 {
			return c
		}
		if c := bytes.Compare(x.TopicID[:], y.TopicID[:]); c != 0 {
			return c
		}
		return int(x.Partition) - int(y.Partition)
	})
	req := msg.NewAssignReplicasToDirsRequest()
	for i, p := range placed {
		if i == 0 || placed[i-1].Dir != p.Dir {
			req.Directories = append(req.Directories, msg.AssignReplicasToDirsRequestDirectory{ID: p.Dir})
		}
		d := &req.Directories[len(req.Directories)-1]
		if n := len(d.Topics); n == 0 || d.Topics[n-1].TopicID != p.TopicID {
			d.Topics = append(d.Topics, msg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: p.TopicID})
		}
		t := &d.Topics[len(d.Topics)-1]
		t.Partitions = append(t.Partitions, msg.AssignReplicasToDirsRequestDirectoryTopicPartition{PartitionIndex: p.Partition})
	}
	return &req
}

// watch is the activity that waits for directories to fail. What is in one
// goes offline; without the metadata, or without any directory, the node ends.
func (p *places) watch(ctx context.Context) error {
	failed := make(chan *commitlog.Home, len(p.dirs.homes))
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, h := range p.dirs.homes {
		waiting.Go(func() {
			select { //house:select a directory that fails at the end changes nothing
			case <-ctx.Done():
			case <-h.Down():
				failed <- h
			}
		})
	}
	for {
		select { //house:select see above
		case <-ctx.Done():
			return nil
		case h := <-failed:
			if err := p.without(h); err != nil {
				return err
			}
		}
	}
}

// without goes on without a directory, or says why that cannot be.
func (p *places) without(h *commitlog.Home) error {
	if h == p.dirs.metadata {
		return fmt.Errorf("the directory of the metadata has failed: %w", h.Failed())
	}
	if p.replicas.Lose(h) == 0 {
		return fmt.Errorf("all directories in log.dirs have failed, the last is %s: %w", h.Path(), h.Failed())
	}
	p.changed()
	return nil
}

// cordoned are the ids of the cordoned directories.
func (p *places) cordoned() []kafka.UUID {
	paths := p.metadata.Properties().CordonedDirs()
	var ids []kafka.UUID
	for _, d := range p.dirs.data {
		if holdsPath(paths, d.Home.Path()) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// holdsPath says whether a directory is in a list as properties write it.
func holdsPath(list []string, dir string) bool {
	return slices.ContainsFunc(list, func(p string) bool { return path.Clean(p) == dir })
}
