package partition

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a leader with two followers in a world where everything may happen
// in any order, and knows what a leader must not get wrong.
type model struct {
	p       *Partition
	cfg     Config
	now     int64
	isr     []int32 // what the controller has committed
	pending *ISRChange
	epoch   int32
	pe      int32
	flushed int64
	ends    map[int32]int64 // of the followers
	batches []batch
	hw      int64
}

type batch struct {
	base, next int64
	durable    bool
}

func (m *model) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].next
}

func (m *model) apply(fx Effects) {
	if fx.Propose != nil {
		m.pending = fx.Propose
	}
}

func (m *model) assign() {
	m.apply(m.p.Assign(Assignment{Leader: 1, LeaderEpoch: m.epoch, PartitionEpoch: m.pe, Replicas: []int32{1, 2, 3}, ISR: m.isr}, m.now))
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			b := batch{m.end(), m.end() + rapid.Int64Range(1, 5).Draw(t, "n"), rapid.Bool().Draw(t, "durable")}
			m.batches = append(m.batches, b)
			m.apply(m.p.Written(b.base, b.next, b.durable))
		},
		"flush": func(t *rapid.T) {
			m.flushed = m.boundary(t, m.flushed)
			m.apply(m.p.Flushed(m.flushed))
		},
		"fetch": func(t *rapid.T) {
			id := rapid.Int32Range(2, 3).Draw(t, "id")
			m.ends[id] = m.boundary(t, m.ends[id])
			m.apply(m.p.Fetched(Fetch{Replica: id, Offset: m.ends[id], LeaderEpoch: m.epoch, Eligible: rapid.Bool().Draw(t, "eligible")}, m.now))
		},
		"tick": func(t *rapid.T) {
			m.now += rapid.Int64Range(0, 4000).Draw(t, "ms")
			m.apply(m.p.Tick(m.now))
		},
		"controller accepts": func(t *rapid.T) {
			if m.pending == nil {
				t.Skip()
			}
			m.isr = nil
			for _, b := range m.pending.ISR {
				m.isr = append(m.isr, b.Broker)
			}
			m.pending = nil
			m.pe++
			if rapid.Bool().Draw(t, "the leader hears of it") {
				m.assign()
			}
		},
		"controller refuses": func(t *rapid.T) {
			if m.pending == nil {
				t.Skip()
			}
			m.apply(m.p.ISRRefused(m.pending.PartitionEpoch))
			m.pending = nil
		},
		"image": func(t *rapid.T) { m.assign() },
		"new epoch": func(t *rapid.T) {
			m.epoch++
			m.pe++
			m.pending = nil
			m.assign()
		},
		"config": func(t *rapid.T) {
			m.cfg.MinISR = rapid.Int32Range(1, 4).Draw(t, "min")
			m.apply(m.p.SetConfig(m.cfg))
		},
		"": m.check,
	}
}

// boundary draws a batch's end from at on.
func (m *model) boundary(t *rapid.T, at int64) int64 {
	ends := []int64{at}
	for _, b := range m.batches {
		if b.next > at {
			ends = append(ends, b.next)
		}
	}
	return rapid.SampledFrom(ends).Draw(t, "end")
}

func (m *model) check(t *rapid.T) {
	hw := m.p.HighWatermark()
	if hw < m.hw {
		t.Fatalf("high watermark went back from %d to %d", m.hw, hw)
	}
	if hw > m.hw {
		// Whom the controller has committed is what counts, known or not.
		for _, id := range m.isr {
			if id != 1 && m.ends[id] < hw {
				t.Fatalf("high watermark %d, but %d of the ISR has %d", hw, id, m.ends[id])
			}
		}
		if len(m.p.ISR()) < min(3, int(m.cfg.MinISR)) {
			t.Fatalf("high watermark moved to %d with ISR %v and min %d", hw, m.p.ISR(), m.cfg.MinISR)
		}
		for _, b := range m.batches {
			if b.durable && b.base < hw && b.next > m.hw && m.flushed < b.next {
				t.Fatalf("batch %v must be durable and is seen at %d, flushed %d", b, hw, m.flushed)
			}
		}
	}
	m.hw = hw
	if d := m.p.Durable(); d > m.flushed && d > m.p.EpochStart() {
		t.Fatalf("durable %d, flushed %d", d, m.flushed)
	}
}

// settle lets everything good happen that has been held up.
func (m *model) settle(t *rapid.T) {
	m.cfg.MinISR = 1
	m.apply(m.p.SetConfig(m.cfg))
	m.flushed = m.end()
	m.apply(m.p.Flushed(m.flushed))
	m.pending = nil
	m.pe++
	m.assign()
	for _, id := range []int32{2, 3} {
		m.ends[id] = m.end()
		m.apply(m.p.Fetched(Fetch{Replica: id, Offset: m.end(), LeaderEpoch: m.epoch, Eligible: true}, m.now))
	}
	m.check(t)
	if m.p.HighWatermark() != m.end() || m.p.Durable() < m.end() {
		t.Fatalf("stuck at %d and %d of %d: isr %v", m.p.HighWatermark(), m.p.Durable(), m.end(), m.p.ISR())
	}
}

func TestHighWatermarkProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		isr := rapid.SampledFrom([][]int32{{1, 2, 3}, {1, 2}, {1}}).Draw(t, "isr")
		m := &model{cfg: Config{Self: 1, MinISR: 2, LagMax: 30000, StallMax: 2000}, isr: isr, ends: map[int32]int64{}}
		m.p = New(m.cfg, 0, 0)
		m.assign()
		for range 3 {
			t.Repeat(m.actions())
		}
		m.settle(t)
	})
}

// TestQueueStaysSmall alternates the kinds of acks for long, flushing behind.
func TestQueueStaysSmall(t *testing.T) {
	p := New(Config{Self: 1, MinISR: 1}, 0, 0)
	p.Assign(Assignment{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}, 0)
	for i := range int64(100_000) {
		p.Written(i, i+1, i%2 == 0)
		if i%100 == 99 {
			p.Flushed(i - 10)
		}
	}
	if c := cap(p.demands.ranges); c > 1000 {
		t.Errorf("%d ranges are held", c)
	}
	if n := testing.AllocsPerRun(1000, func() {
		end := p.local.written
		p.Written(end, end+1, true)
		p.Flushed(end + 1)
	}); n != 0 {
		t.Errorf("a write and a flush allocate %v times", n)
	}
	if !slices.Equal(p.ISR(), []int32{1}) || p.HighWatermark() != p.local.written {
		t.Error("not committed")
	}
}
