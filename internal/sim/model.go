package sim

import (
	"fmt"
	"slices"
)

// model is what the client may hold the node to.
//
// Of each partition it knows the values sent, and at which offsets the node
// promised which of them. A promise is an answer to acks=all, or a value read
// after a restart: what recovery shows, it has made durable. acks=1 promises
// nothing over a power cut.
type model struct {
	topics  []*topic
	commits map[string]*commit // by group/topic/partition, see commitKey
}

type topic struct {
	name   string
	parts  []*part
	exists bool // creation was acknowledged, or seen
}

type part struct {
	topic    string
	id       int32
	sent     map[string]bool  // every value ever sent here
	promised map[int64]string // value by offset
	end      int64            // one more than the largest promised offset
}

// commit is what is known of one committed offset.
type commit struct {
	acked  int64   // -1: none
	maybes []int64 // sent since, without an answer
}

func (p *part) promise(offset int64, value string) error {
	if old, ok := p.promised[offset]; ok && old != value {
		return fmt.Errorf("%s-%d offset %d: %q, but %q was promised there", p.topic, p.id, offset, value, old)
	}
	p.promised[offset] = value
	p.end = max(p.end, offset+1)
	return nil
}

// seen is one record that was read back.
type seen struct {
	offset int64
	value  string
}

// check compares a whole partition, read from its start, with the promises.
// Nothing promised may be missing or moved, nothing may be there that was never
// sent, and nothing twice.
func (p *part) check(start int64, log []seen) error {
	at := map[int64]string{}
	first := map[string]int64{}
	next := start
	for _, s := range log {
		if s.offset != next {
			return fmt.Errorf("%s-%d: offset %d follows %d", p.topic, p.id, s.offset, next-1)
		}
		next = s.offset + 1
		if !p.sent[s.value] {
			return fmt.Errorf("%s-%d offset %d: %q was never sent", p.topic, p.id, s.offset, s.value)
		}
		if o, twice := first[s.value]; twice {
			return fmt.Errorf("%s-%d: %q stands at offsets %d and %d", p.topic, p.id, s.value, o, s.offset)
		}
		first[s.value], at[s.offset] = s.offset, s.value
	}
	offsets := make([]int64, 0, len(p.promised))
	for o := range p.promised {
		offsets = append(offsets, o)
	}
	slices.Sort(offsets)
	for _, o := range offsets {
		if v, ok := at[o]; o >= start && (!ok || v != p.promised[o]) {
			return fmt.Errorf("%s-%d offset %d: %q was acknowledged, %q is there (the log is [%d, %d))", p.topic, p.id, o, p.promised[o], v, start, next)
		}
	}
	return nil
}

// settle makes promises of all that a restarted node shows.
func (p *part) settle(log []seen) error {
	for _, s := range log {
		if err := p.promise(s.offset, s.value); err != nil {
			return err
		}
	}
	return nil
}

func (m *model) commit(key string) *commit {
	c := m.commits[key]
	if c == nil {
		c = &commit{acked: -1}
		m.commits[key] = c
	}
	return c
}

// check says whether an offset read back is one that may be there, and settles
// on it.
func (c *commit) check(key string, got int64) error {
	if got != c.acked && !slices.Contains(c.maybes, got) {
		return fmt.Errorf("%s: offset %d is committed, %d was acknowledged (and %v sent since)", key, got, c.acked, c.maybes)
	}
	c.acked, c.maybes = got, nil
	return nil
}
