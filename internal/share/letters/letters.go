package letters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
)

// Rules are what a group and the broker say of letters, as of now.
type Rules struct {
	Topic  string // errors.deadletterqueue.topic.name; empty: the group wants none
	Copy   bool   // errors.deadletterqueue.copy.record.enable
	Prefix string // errors.deadletterqueue.topic.name.prefix
	Create bool   // errors.deadletterqueue.auto.create.topics.enable
}

// Topic is what is known of a topic.
type Topic struct {
	Partitions int
	Allowed    bool // errors.deadletterqueue.group.enable
	MaxBytes   int  // max.message.bytes
}

// World is the cluster as letters need it.
type World interface {
	Rules(group string) Rules

	// Topic describes a topic that exists.
	Topic(name string) (Topic, bool)

	// Name is that of a topic, its id in text where it is gone.
	Name(id kafka.UUID) string

	// Create makes a dead-letter topic. One that is there already is no error.
	Create(ctx context.Context, name string) error

	// Read gives whole batches of a partition, the first of them with the offset
	// or with what comes behind it; none at the end.
	Read(id kafka.UUID, partition int32, offset int64, maxBytes int) ([]byte, error)

	// Append writes a batch and returns when it is durable.
	Append(ctx context.Context, topic string, partition int32, batch []byte) error
}

// Config says what a Writer works on.
type Config struct {
	World  World
	Now    func() time.Time
	Logger *slog.Logger // nil: discard
}

// Writer writes letters. It has no state: many may use it at once.
type Writer struct {
	cfg Config
}

var _ share.Letters = (*Writer)(nil)

// New makes a Writer.
func New(cfg Config) (*Writer, error) {
	if cfg.World == nil || cfg.Now == nil {
		return nil, errors.New("letters: World and Now are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Writer{cfg}, nil
}

// How often a write is tried, and the pauses between.
const (
	tries      = 5
	pauseFirst = time.Second
	pauseMost  = 30 * time.Second
)

// Send writes letters, and tries again what may pass. Those that cannot be
// written keep the others waiting but once.
func (w *Writer) Send(ctx context.Context, key share.Key, all []share.Letter) []error {
	p := newPost(w.cfg.World.Name(key.TopicID), key, all)
	for pause := pauseFirst; !p.done(); {
		err := w.round(ctx, p)
		switch {
		case err == nil:
			p.failed, pause = 0, pauseFirst
			continue
		case hopeless(err):
			p.giveUp(err)
			continue
		}
		if p.failed++; p.failed >= tries {
			p.giveUp(fmt.Errorf("tried %d times: %w", p.failed, err))
			continue
		}
		w.cfg.Logger.Warn("cannot write dead letters yet", "share", key.String(), "err", err, "pause", pause)
		if err := sleep(ctx, pause); err != nil {
			p.giveUp(err)
		}
		pause = min(2*pause, pauseMost)
	}
	return p.errs
}

// round writes one batch of what is left of the letters.
func (w *Writer) round(ctx context.Context, p *post) error {
	if err := ctx.Err(); err != nil {
		return refuse(err)
	}
	rules := w.cfg.World.Rules(p.key.Group)
	topic, err := w.topic(ctx, &rules)
	if err != nil {
		return err
	}
	if !p.plain {
		p.copies = nil
		if rules.Copy {
			p.read(w.cfg.World, topic.MaxBytes)
		}
	}
	batch := p.fill(topic.MaxBytes, w.cfg.Now().UnixMilli())
	err = w.cfg.World.Append(ctx, rules.Topic, p.key.Partition%int32(topic.Partitions), batch)
	switch code := kafka.CodeOf(err); {
	case err == nil:
		p.written()
		return nil
	case !about(code):
		return err
	case p.build.Count() > 1: // one of them may be at fault
		p.single = true
	case len(p.copies) > 0 && large(code): // it may go without its copy
		p.copies, p.plain = nil, true
	default:
		p.skip(err)
	}
	return nil
}

// large says whether a topic refused a batch for its size.
func large(code kafka.Code) bool {
	return code == kafka.MessageTooLarge || code == kafka.RecordListTooLarge
}

// about says whether a topic refused a batch for what is in it.
func about(code kafka.Code) bool {
	return large(code) || code == kafka.InvalidRecord || code == kafka.InvalidTimestamp || code == kafka.UnsupportedForMessageFormat
}

// topic is the group's dead-letter topic, which is made if need be.
//
// Errors that will not pass: there is none, and those of its name.
func (w *Writer) topic(ctx context.Context, rules *Rules) (Topic, error) {
	topic, there := w.cfg.World.Topic(rules.Topic)
	switch {
	case rules.Topic == "":
		return topic, refuse(errors.New("the group has no dead-letter topic"))
	case strings.HasPrefix(rules.Topic, "__"):
		return topic, refuse(fmt.Errorf("the name of the dead-letter topic %q begins with __", rules.Topic))
	case there && !topic.Allowed:
		return topic, refuse(fmt.Errorf("topic %q has no errors.deadletterqueue.group.enable=true", rules.Topic))
	case !there && !rules.Create:
		return topic, refuse(fmt.Errorf("there is no topic %q, and errors.deadletterqueue.auto.create.topics.enable=false", rules.Topic))
	case !strings.HasPrefix(rules.Topic, rules.Prefix):
		return topic, refuse(fmt.Errorf("the name of the dead-letter topic %q does not begin with %q", rules.Topic, rules.Prefix))
	case there:
		return topic, nil
	}
	if err := w.cfg.World.Create(ctx, rules.Topic); err != nil {
		return topic, err
	}
	if topic, there = w.cfg.World.Topic(rules.Topic); !there {
		return topic, fmt.Errorf("topic %q was made and is not known yet: %w", rules.Topic, kafka.UnknownTopicOrPartition)
	}
	return topic, nil
}

// refusal is an error that will not pass.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(err error) error { return refusal{err} }

// hopeless says whether to try again makes no sense.
func hopeless(err error) bool {
	var r refusal
	return errors.As(err, &r) || errors.Is(err, context.Canceled)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	//house:select the end of ctx may wait for one try more
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
