package txn

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// List answers ListTransactions (key 66) with the ids that this broker
// coordinates, by partition and id, as far as the filters let them through. It
// tells what is committed. While a partition is loading the whole answer is an
// error, or ids would seem to be gone.
//
// States are by Kafka's names; those it does not know come back. A duration
// lets through what began longer ago than so many ms, which is also true of an
// id that never began. A pattern is RE2's and has to match the whole id
// (INVALID_REGULAR_EXPRESSION).
func (s *Service) List(_ context.Context, req *msg.ListTransactionsRequest) *msg.ListTransactionsResponse {
	resp := msg.NewListTransactionsResponse()
	f, code := newFilter(req, s.cfg.Now().UnixMilli())
	if code != kafka.None {
		resp.ErrorCode = int16(code)
		return &resp
	}
	resp.UnknownStateFilters = f.unknown
	for _, p := range s.rt.Owned() {
		err := s.rt.Read(p, func(sh *shard) error {
			for _, id := range sh.ids.CommittedKeys() {
				tx, _ := sh.ids.Committed(id)
				if f.lets(id, tx) {
					resp.TransactionStates = append(resp.TransactionStates, msg.ListTransactionsResponseTransactionState{
						TransactionalID: id, ProducerID: tx.ID, TransactionState: tx.status.String()})
				}
			}
			return nil
		})
		if code := codeOf(err); code != kafka.None && code != kafka.NotCoordinator {
			resp.ErrorCode, resp.TransactionStates, resp.UnknownStateFilters = int16(code), nil, nil
			return &resp
		}
	}
	return &resp
}

// filter says which transactions a list has.
type filter struct {
	states    []Status
	unknown   []string
	anyState  bool
	producers []int64
	duration  int64 // ms; negative: any
	pattern   *regexp.Regexp
	now       int64
}

func newFilter(req *msg.ListTransactionsRequest, now int64) (*filter, kafka.Code) {
	f := &filter{anyState: len(req.StateFilters) == 0, producers: req.ProducerIDFilters, duration: req.DurationFilter, now: now}
	for _, name := range req.StateFilters {
		if i := slices.Index(statusNames[:], name); i >= 0 {
			f.states = append(f.states, Status(i))
		} else if !slices.Contains(f.unknown, name) {
			f.unknown = append(f.unknown, strings.Clone(name))
		}
	}
	if p := req.TransactionalIDPattern; p != nil && *p != "" {
		if _, err := regexp.Compile(*p); err != nil { // before it is wrapped, which could close its brackets
			return nil, kafka.InvalidRegularExpression
		}
		var err error
		if f.pattern, err = regexp.Compile(`\A(?:` + *p + `)\z`); err != nil {
			return nil, kafka.InvalidRegularExpression
		}
	}
	return f, kafka.None
}

func (f *filter) lets(id string, tx *transaction) bool {
	switch {
	case len(f.producers) > 0 && !slices.Contains(f.producers, tx.ID):
		return false
	case !f.anyState && !slices.Contains(f.states, tx.status):
		return false
	case f.duration >= 0 && f.now-tx.started <= f.duration:
		return false
	}
	return f.pattern == nil || f.pattern.MatchString(id)
}
