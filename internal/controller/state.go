package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// State is what decisions rest on.
type State struct {
	Image  *cluster.Image
	Config *config.Broker // the controller's settings, with the image's overrides
	Rand   *rand.Rand     // for topic ids and where replicas begin

	// Heard says whether the broker that is registered under an id was heard from
	// within its session: another process is no successor then. Nil: nobody is.
	Heard func(id int32) bool
	// Moved says whether all brokers in service have applied the metadata up to
	// where this one, which shuts down, gave its leadership away: clients find the
	// new leaders then before the old one is gone. Nil: they have.
	Moved func(id int32) bool
}

// after is the state on which these records act already; s stays as it is.
// Records that do not fit are found by whoever replays the whole decision.
func (s *State) after(recs Records) *State {
	if len(recs) == 0 {
		return s
	}
	d := cluster.NewDelta(s.Image)
	for _, r := range recs {
		if d.Replay(r) != nil {
			return s
		}
	}
	next := *s
	next.Image = d.Apply(s.Image.Index(), s.Image.Term())
	next.Config = s.Config.WithDefaults(next.Image.Config(cluster.Resource{Kind: cluster.BrokerResource}).Map())
	return &next
}

// Records are what a decision wants to be written: all of them or none.
type Records []state.Record

// refusal is an error that a response carries: a code and, for people, a text;
// without one the response's message is null.
type refusal struct {
	code kafka.Code
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.code }

func refuse(code kafka.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// answer splits an error into what a response carries; nil is success.
func answer(err error) (code int16, text *string) {
	if err == nil {
		return 0, nil
	}
	code = int16(kafka.CodeOf(err))
	var r *refusal
	if errors.As(err, &r) && r.text == "" {
		return code, nil
	}
	return code, new(err.Error())
}

// newID draws an id for a topic. The few that begin with a dash when printed are
// passed over: command-line tools would take them for flags.
func (s *State) newID() kafka.UUID {
	for {
		var id kafka.UUID
		for i := 0; i < len(id); i += 8 {
			n := s.Rand.Uint64()
			for j := range 8 {
				id[i+j] = byte(n >> (8 * j))
			}
		}
		id[6] = id[6]&0x0f | 0x40 // version 4, as Java draws them
		id[8] = id[8]&0x3f | 0x80
		if id[0] >= 0xf8 && id[0] <= 0xfb || s.Image.TopicByID(id) != nil { // "-" is 62
			continue
		}
		return id
	}
}

// elr says whether eligible leader replicas are on (KIP-966).
func (s *State) elr() bool { return s.Image.Feature(FeatureELR) > 0 }
