package errand

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Markers brings the ends of transactions to the leaders of partitions.
type Markers struct {
	Errands *Errands
	Here    Marker
	// Most is with how many partitions a caller is lone: it flushes by itself.
	Most int
}

var _ txn.Markers = Markers{}

// markersVersion is the version of WriteTxnMarkers that carries the version of the
// transaction.
const markersVersion = 2

// marking is one marker for partitions that one broker leads, and what became of
// it, by their places in the list of all.
type marking struct {
	txn.Marker
	all    []kafka.TopicPartition
	places []int
	errs   []error // of all
}

// Write is as [txn.Markers] says. A partition that nobody leads, or whose leader
// moves, fails and is to be tried again.
func (w Markers) Write(ctx context.Context, m txn.Marker, partitions []kafka.TopicPartition) []error {
	if w.allHere(partitions) {
		return w.gone(partitions, w.Here(ctx, m, partitions, len(partitions) <= w.Most)())
	}
	here, away, errs := w.sort(partitions)
	var tasks sync.WaitGroup
	for _, to := range away {
		tasks.Go(func() {
			one := &marking{Marker: m, all: partitions, places: to.places, errs: make([]error, len(partitions))}
			err := w.Errands.markers.send(ctx, to.node, one)
			for _, i := range to.places {
				errs[i] = err
				if err == nil {
					errs[i] = one.errs[i]
				}
			}
		})
	}
	if len(here) > 0 {
		own := make([]kafka.TopicPartition, len(here))
		for n, i := range here {
			own[n] = partitions[i]
		}
		for n, err := range w.Here(ctx, m, own, len(own) <= w.Most)() {
			errs[here[n]] = err
		}
	}
	tasks.Wait()
	return w.gone(partitions, errs)
}

// destination is a broker with the places of the partitions that it leads.
type destination struct {
	node   int32
	places []int
}

// sort says who leads which partition; errs has an error for those that nobody
// leads. A partition that is not known is this broker's business: see gone.
func (w Markers) sort(partitions []kafka.TopicPartition) (here []int, away []destination, errs []error) {
	errs = make([]error, len(partitions))
	for i, tp := range partitions {
		node, err := w.Errands.leader(tp)
		switch {
		case kafka.CodeOf(err) == kafka.UnknownTopicOrPartition, err == nil && node == w.Errands.cfg.Self:
			here = append(here, i)
		case err != nil:
			errs[i] = err
		default:
			at := slices.IndexFunc(away, func(d destination) bool { return d.node == node })
			if at < 0 {
				at = len(away)
				away = append(away, destination{node: node})
			}
			away[at].places = append(away[at].places, i)
		}
	}
	return here, away, errs
}

// allHere says whether no partition is another broker's.
func (w Markers) allHere(partitions []kafka.TopicPartition) bool {
	img := w.Errands.cfg.Image()
	for _, tp := range partitions {
		if p := img.Topic(tp.Topic).Partition(tp.Partition); p != nil && p.Leader != w.Errands.cfg.Self {
			return false
		}
	}
	return true
}

// gone forgives what failed in partitions that do not exist any more.
func (w Markers) gone(partitions []kafka.TopicPartition, errs []error) []error {
	for i, err := range errs {
		if err != nil && w.Errands.cfg.Image().Topic(partitions[i].Topic).Partition(partitions[i].Partition) == nil {
			errs[i] = nil
		}
	}
	return errs
}

// carryMarkers sends markers to a broker, all in one request.
func (e *Errands) carryMarkers(ctx context.Context, node int32, load []*parcel[*marking]) {
	req, resp := msg.NewWriteTxnMarkersRequest(), msg.NewWriteTxnMarkersResponse()
	for _, p := range load {
		req.Markers = append(req.Markers, p.is.row())
	}
	err := e.ask(ctx, e.cfg.Markers, node, question{&req, &resp, markersVersion})
	if err == nil && len(resp.Markers) != len(load) {
		err = fmt.Errorf("broker %d answers %d markers of %d: %w", node, len(resp.Markers), len(load), kafka.UnknownServerError)
	}
	for i, p := range load {
		if p.err = err; err == nil {
			p.err = p.is.read(&resp.Markers[i])
		}
	}
}

func (m *marking) row() msg.WriteTxnMarkersRequestMarker {
	row := msg.WriteTxnMarkersRequestMarker{ProducerID: m.ID, ProducerEpoch: m.Epoch, TransactionResult: m.Commit,
		CoordinatorEpoch: m.CoordinatorEpoch, TransactionVersion: int8(m.Version)}
	for _, t := range grouped(m.all, m.places) {
		rt := msg.WriteTxnMarkersRequestMarkerTopic{Name: t.topic}
		for _, i := range t.places {
			rt.PartitionIndexes = append(rt.PartitionIndexes, m.all[i].Partition)
		}
		row.Topics = append(row.Topics, rt)
	}
	return row
}

// read takes in what a broker says. A partition that it says nothing of has
// failed.
func (m *marking) read(row *msg.WriteTxnMarkersResponseMarker) error {
	if row.ProducerID != m.ID {
		return fmt.Errorf("an answer for producer %d, not %d: %w", row.ProducerID, m.ID, kafka.UnknownServerError)
	}
	for _, i := range m.places {
		m.errs[i] = fmt.Errorf("%s: no answer: %w", m.all[i], kafka.UnknownServerError)
	}
	for _, t := range row.Topics {
		for _, p := range t.Partitions {
			for _, i := range m.places {
				if m.all[i].Partition == p.PartitionIndex && m.all[i].Topic == t.Name {
					m.errs[i] = codeError(kafka.Code(p.ErrorCode))
				}
			}
		}
	}
	return nil
}

// codeError is nil for NONE.
func codeError(c kafka.Code) error {
	if c == kafka.None {
		return nil
	}
	return c
}
