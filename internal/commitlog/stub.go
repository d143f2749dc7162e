package commitlog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

var errStub = errors.New("not there yet")

type HomeConfig struct {
	FS              vfs.FS
	Path            string
	Logger          *slog.Logger
	Now             func() time.Time
	MaxOpenFiles    int
	IndexCacheBytes int
}
type Home struct{ fs vfs.FS }

func OpenHome(cfg HomeConfig) (*Home, error)            { return nil, errStub }
func (h *Home) Clean() bool                             { return false }
func (h *Home) SameBoot() bool                          { return false }
func (h *Home) Logs() ([]kafka.TopicPartition, error)   { return nil, errStub }
func (h *Home) RemoveLog(tp kafka.TopicPartition) error { return errStub }
func (h *Home) Checkpoint() error                       { return errStub }
func (h *Home) Close(clean bool) error                  { return errStub }

type Log struct{}

func Open(cfg Config) (*Log, Recovered, error)    { return nil, Recovered{}, errStub }
func (l *Log) Close() error                       { return errStub }
func (l *Log) Start() int64                       { return 0 }
func (l *Log) End() int64                         { return 0 }
func (l *Log) Flushed() int64                     { return 0 }
func (l *Log) Failed() error                      { return nil }
func (l *Log) Append(batches []Batch) error       { return errStub }
func (l *Log) Flush() error                       { return errStub }
func (l *Log) Producers() *ProducerState          { return nil }
func (l *Log) LatestEpoch() int32                 { return -1 }
func (l *Log) Epochs() []EpochStart               { return nil }
func (l *Log) MaxTimestamp() (Found, bool, error) { return Found{}, false, errStub }
func (l *Log) TruncateTo(offset int64) error      { return errStub }
func (l *Log) ResetTo(offset int64) error         { return errStub }
func (l *Log) DeleteTo(offset int64) error        { return errStub }
func (l *Log) Segments() []SegmentInfo            { return nil }
func (l *Log) Size() int64                        { return 0 }
func (l *Log) SetConfig(t Tunables)               {}
func (l *Log) Read(offset int64, maxBytes int, limit int64, minOne bool) (Range, error) {
	return Range{}, errStub
}
func (l *Log) Aborted(from, to int64) ([]AbortedTxn, error) { return nil, errStub }
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) { return -1, -1 }
func (l *Log) AssignEpoch(epoch int32, start int64) error   { return errStub }
func (l *Log) OffsetForTime(ts int64) (Found, bool, error)  { return Found{}, false, errStub }
func (l *Log) Retain(limit int64) (deleted int, err error)  { return 0, errStub }

type ProducerState struct{}
type Verdict struct {
	Duplicate             bool
	Base, Last, Timestamp int64
}
type Producer struct {
	ID               int64
	Epoch            int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32
	TxnFirst         int64
}

func (p *ProducerState) Check(h *record.Header) (Verdict, error) { return Verdict{}, errStub }
func (p *ProducerState) CheckMarker(id int64, epoch int16, coordinatorEpoch int32) error {
	return errStub
}
func (p *ProducerState) Update(h *record.Header)              {}
func (p *ProducerState) FirstUnstable(hw int64) (int64, bool) { return 0, false }
func (p *ProducerState) Describe() []Producer                 { return nil }

type FlusherConfig struct {
	Parallel  int
	LazyBytes int64
	LazyDelay time.Duration
	Now       func() time.Time
	Logger    *slog.Logger
}
type Flusher struct{}

func NewFlusher(cfg FlusherConfig) *Flusher      { return &Flusher{} }
func (f *Flusher) Run(ctx context.Context) error { return errStub }
func (f *Flusher) Schedule(l *Log, urgent bool)  {}
