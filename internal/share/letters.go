package share

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// Cause is why a record goes to a dead-letter topic.
type Cause int8

const (
	Rejected Cause = iota // a member said so
	TooOften              // it was delivered as often as the group allows
)

// String is the text that goes into the letter, which is Kafka's.
func (c Cause) String() string {
	if c == Rejected {
		return "Offset rejected by client."
	}
	return "Offset delivery count exceeded the threshold."
}

// Letter tells of records, both offsets included, that a group gave up and that
// share a fate: each is to be written into the group's dead-letter topic
// (KIP-1191).
type Letter struct {
	First, Last int64
	Count       int16 // deliveries
	Cause       Cause
}

// Letters writes dead letters.
type Letters interface {
	// Send writes letters of one share partition, which are in order, and tries
	// again what may pass. It returns when all are durable or given up:
	// an error for each letter, nil if it was sent.
	Send(ctx context.Context, key Key, letters []Letter) []error
}

// noLetters is where nobody writes letters: none is sent.
type noLetters struct{}

func (noLetters) Send(_ context.Context, _ Key, letters []Letter) []error {
	errs := make([]error, len(letters))
	for i := range errs {
		errs[i] = errors.New("nobody writes dead letters here")
	}
	return errs
}

// mail is what a [window] knows of its letters. They are apart from the runs:
// those may go while a letter waits, when the log begins later.
type mail struct {
	late   []Letter // of locks that ran out: their state was not stored yet
	saving []Letter // those of them that are being stored
	post   []Letter // to be sent
	filed  []span   // of letters that were sent: that is to be stored
	filing []span   // those of them that are being stored
}

// seal begins to store what letters have to be stored.
func (m *mail) seal() {
	m.saving, m.late = m.late, nil
	m.filing, m.filed = m.filed, nil
}

// sealed ends what seal began. A letter is also sent where its state could not
// be stored: one too many is better than none.
func (m *mail) sealed(err error) {
	m.post = append(m.post, m.saving...)
	if err != nil {
		m.filed = append(m.filing, m.filed...)
	}
	m.saving, m.filing = nil, nil
}

// outgoing gives the letters to send, in order. [window.sent] has to follow.
func (m *mail) outgoing() []Letter {
	out := m.post
	m.post = nil
	slices.SortFunc(out, func(a, b Letter) int { return cmp.Compare(a.First, b.First) })
	return out
}

// resumed is the letter of a run that was stored as Archiving. Its cause was not
// stored.
func (w *window) resumed(r *run) Letter {
	l := Letter{r.first, r.last, r.count, Rejected}
	if r.count >= w.deliveries {
		l.Cause = TooOften
	}
	return l
}

// sent archives the records of letters that were sent or given up.
func (w *window) sent(letters []Letter) {
	for _, l := range letters {
		s := span{l.First, l.Last}
		w.each(s, func(_ *batch, r *run) {
			if r.state == Archiving {
				w.turn(r, Archived)
			}
		})
		w.filed = append(w.filed, s)
	}
	w.tidyAll()
	w.advance()
}

// postLocked says whether somebody has to begin to send letters. [Partition.deliver]
// has to follow.
func (p *Partition) postLocked() bool {
	if p.mu.sending || p.mu.gone != nil || len(p.mu.w.post) == 0 {
		return false
	}
	p.mu.sending = true
	return true
}

// deliver sends letters until there are none, and notes that it did. What ctx
// cuts off is sent by who comes next: it is stored as Archiving.
func (p *Partition) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		letters := p.mu.w.outgoing()
		if p.mu.sending = len(letters) > 0; !p.mu.sending {
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		errs := p.s.cfg.Letters.Send(ctx, p.key, letters)
		if ctx.Err() != nil {
			return
		}
		for i, l := range letters {
			p.s.Stats.Letters.Add(l.Last - l.First + 1)
			if err := errs[i]; err != nil {
				p.s.Stats.LettersLost.Add(l.Last - l.First + 1)
				p.s.cfg.Logger.Error("records that a share group gave up are not in its dead-letter topic", "share", p.key.String(),
					"first", l.First, "last", l.Last, "deliveries", l.Count, "cause", l.Cause.String(), "err", err)
			}
		}
		p.mu.Lock()
		if p.mu.gone == nil {
			p.mu.w.sent(letters)
		}
		p.mu.Unlock()
		p.flush(ctx)
	}
}
