package share

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// story is a share partition, its log, its persister, and what the test knows
// of each record.
type story struct {
	*rapid.T
	w       window
	now     time.Time
	limits  limits
	log     []span         // batches; there may be room between two
	aborted map[int64]bool // by offset
	logFrom int64
	origin  int64 // where the share partition began
	next    int64

	records map[int64]*fate
	tickets []*claim
	stored  map[int64]Batch // by offset
	start   int64           // stored
	members []string
	last    map[string][]AcquiredRecords
}

// fate is what the test knows of a record.
type fate struct {
	owner   string // who has it now
	until   time.Time
	given   int  // times handed out since the leader came
	ever    bool // was handed out at all
	done    bool // acknowledged or rejected, and answered
	maybe   bool // such an answer was lost
	excused bool // was given up for another reason
	closed  bool // accepted, or said to be none: there is no letter of it
	gone    bool // aborted, vanished, or before the log's start
	letters int
}

// claim is a ticket and what it said.
type claim struct {
	t      *ticket
	final  []int64
	closed []int64 // those of them that were not rejected
}

func newStory(rt *rapid.T) *story {
	s := &story{T: rt, now: time.Unix(1000, 0), aborted: map[int64]bool{}, records: map[int64]*fate{}, stored: map[int64]Batch{},
		members: []string{"a", "b", "c"}, last: map[string][]AcquiredRecords{}}
	s.limits = limits{locks: rapid.Int64Range(1, 40).Draw(rt, "locks"), deliveries: int16(rapid.IntRange(2, 7).Draw(rt, "limit")), lock: 10 * time.Second,
		letters: rapid.Bool().Draw(rt, "letters")}
	s.origin = rapid.Int64Range(0, 5).Draw(rt, "origin")
	s.next, s.start = s.origin, s.origin
	s.w.limits = s.limits
	s.w.open(s.origin, nil)
	s.produce()
	return s
}

func (s *story) of(offset int64) *fate {
	f := s.records[offset]
	if f == nil {
		f = &fate{}
		s.records[offset] = f
	}
	return f
}

// produce adds batches to the log.
func (s *story) produce() {
	for range rapid.IntRange(1, 4).Draw(s.T, "batches") {
		if rapid.IntRange(0, 9).Draw(s.T, "hole") == 0 {
			for _, f := range []*fate{s.of(s.next), s.of(s.next + 1)} {
				f.excused, f.gone = true, true
			}
			s.next += 2
		}
		n := rapid.Int64Range(1, 8).Draw(s.T, "size")
		s.log = append(s.log, span{s.next, s.next + n - 1})
		bad := rapid.IntRange(0, 6).Draw(s.T, "abort") == 0
		for o := s.next; o < s.next+n; o++ {
			s.of(o)
			if bad {
				s.aborted[o] = true
				s.of(o).excused, s.of(o).gone = true, true
			}
		}
		s.next += n
	}
}

// read gives the log's batches from an offset on.
func (s *story) read(from int64, n int) (read, aborted []span) {
	for _, b := range s.log {
		if b.last >= from && len(read) < n {
			read = append(read, b)
			if s.aborted[b.first] {
				aborted = append(aborted, b)
			}
		}
	}
	return read, aborted
}

func (s *story) step() {
	switch rapid.IntRange(0, 17).Draw(s.T, "step") {
	case 0:
		s.produce()
	case 1, 2, 3, 4:
		s.fetch()
	case 5, 6, 7, 8:
		s.ack()
	case 9, 10:
		s.write()
	case 11:
		s.now = s.now.Add(time.Duration(rapid.IntRange(0, 12).Draw(s.T, "seconds")) * time.Second)
		s.expire()
	case 12:
		m := rapid.SampledFrom(s.members).Draw(s.T, "leaver")
		if t := s.w.release(m); t != nil {
			s.tickets = append(s.tickets, &claim{t: t})
		}
	case 13:
		s.trim()
	case 14:
		s.vanish()
	case 15:
		if rapid.IntRange(0, 3).Draw(s.T, "lost") == 0 {
			s.lose()
		}
	case 16, 17:
		s.mail()
	}
}

// mail sends the letters there are. The leader may be lost before they are sent,
// or before anybody knows that they were.
func (s *story) mail() {
	letters := s.w.outgoing()
	how := rapid.SampledFrom([]string{"ok", "ok", "ok", "lost before", "lost after"}).Draw(s.T, "mail")
	if how == "lost before" {
		s.lose()
		return
	}
	s.send(letters)
	if how == "lost after" {
		s.lose()
		return
	}
	s.w.sent(letters)
	s.sync()
}

func (s *story) send(letters []Letter) {
	s.sync()
	if len(letters) > 0 && !s.limits.letters {
		s.Fatalf("letters %v", letters)
	}
	for i, l := range letters {
		if l.First > l.Last || i > 0 && l.First <= letters[i-1].Last || l.Count < 1 || l.Count > s.limits.deliveries {
			s.Fatalf("letters %+v", letters)
		}
		for o := l.First; o <= l.Last; o++ {
			f := s.of(o)
			if f.owner != "" || f.closed {
				s.Fatalf("a letter of offset %d, which is %+v", o, f)
			}
			f.letters++
		}
	}
}

// fetch has one or two members read at the same place and then acquire.
func (s *story) fetch() {
	from := s.w.next()
	if from < s.logFrom {
		s.w.logStart(s.logFrom)
		from = s.w.next()
	}
	read, aborted := s.read(from, rapid.IntRange(1, 5).Draw(s.T, "read"))
	for range rapid.IntRange(1, 2).Draw(s.T, "members") {
		q := &acquisition{member: rapid.SampledFrom(s.members).Draw(s.T, "member"), mode: AcquireMode(rapid.IntRange(0, 1).Draw(s.T, "mode")),
			batchSize: rapid.Int64Range(1, 10).Draw(s.T, "batch size"), max: rapid.Int64Range(1, 12).Draw(s.T, "max"),
			from: from, read: read, aborted: aborted, now: s.now}
		limit, full, end := q.max, s.w.end-s.w.start >= s.limits.locks, s.w.end
		got := int64(0)
		for _, row := range s.w.acquire(q) {
			got += row.Last - row.First + 1
			for o := row.First; o <= row.Last; o++ {
				s.give(o, q.member, row.Count)
			}
			s.last[q.member] = append(s.last[q.member], row)
		}
		if q.mode == RecordLimit && got > limit {
			s.Fatalf("%d records for a limit of %d", got, limit)
		}
		if full && s.w.end > end {
			s.Fatalf("a full window grows from %d to %d", end, s.w.end)
		}
	}
}

func (s *story) give(o int64, member string, count int16) {
	f := s.of(o)
	switch {
	case f.done:
		s.Fatalf("offset %d is handed out after it was acknowledged", o)
	case f.owner != "":
		s.Fatalf("offset %d goes to %s while %s has it", o, member, f.owner)
	case s.aborted[o]:
		s.Fatalf("offset %d was aborted", o)
	case o < s.w.start:
		s.Fatalf("offset %d lies before the start", o)
	}
	f.owner, f.until, f.ever = member, s.now.Add(s.limits.lock), true
	f.given++
	if f.given > int(s.limits.deliveries) || count < 1 || count > s.limits.deliveries {
		s.Fatalf("offset %d is handed out %d times, says %d", o, f.given, count)
	}
	if f.given > int(count) {
		s.Fatalf("offset %d: delivery %d says %d", o, f.given, count)
	}
}

// ack says something of what a member has, or of what it has not.
func (s *story) ack() {
	m := rapid.SampledFrom(s.members).Draw(s.T, "who")
	rows := s.last[m]
	if len(rows) == 0 {
		return
	}
	row := rapid.SampledFrom(rows).Draw(s.T, "row")
	a := Ack{First: rapid.Int64Range(row.First, row.Last).Draw(s.T, "first")}
	a.Last = rapid.Int64Range(a.First, row.Last+int64(rapid.IntRange(0, 9).Draw(s.T, "beyond")/9)).Draw(s.T, "last")
	n := 1
	if rapid.Bool().Draw(s.T, "each") {
		n = int(a.Last - a.First + 1)
	}
	for range n {
		a.Types = append(a.Types, int8(rapid.IntRange(0, 4).Draw(s.T, "type")))
	}
	mine, some := true, false
	for o := max(a.First, s.w.start); o <= a.Last; o++ {
		if !s.space(o) {
			some = true
			f := s.records[o]
			mine = mine && f != nil && f.owner == m && !s.waits(o)
		}
	}
	mine = mine && some
	t, err := s.w.acknowledge(m, []Ack{a}, s.now)
	if (err == nil) != mine && a.Last >= s.w.start {
		s.Fatalf("%s acknowledges %v: %v, the model says %v", m, a, err, mine)
	}
	if err != nil {
		if c := kafka.CodeOf(err); c != kafka.InvalidRecordState && c != kafka.InvalidRequest {
			s.Fatalf("%v", err)
		}
		return
	}
	c := &claim{t: t}
	for o := max(a.First, s.w.start); o <= a.Last; o++ {
		if s.space(o) {
			continue
		}
		switch k, _ := a.of(o); k {
		case Renew:
			s.of(o).until = s.now.Add(s.limits.lock)
		case Gap, Accept:
			c.closed = append(c.closed, o)
			c.final = append(c.final, o)
		case Reject:
			c.final = append(c.final, o)
		}
	}
	if t != nil {
		s.tickets = append(s.tickets, c)
	}
}

// space says whether the window takes the offset for one without a record, or
// has not read it yet.
func (s *story) space(o int64) bool {
	i := s.w.at(o)
	return i < len(s.w.batches) && (s.w.batches[i].hole || s.w.batches[i].gap)
}

// waits says whether a ticket that is not settled has the offset.
func (s *story) waits(o int64) bool {
	for _, c := range s.tickets {
		for _, p := range c.t.spans {
			if !c.t.settled && p.first <= o && o <= p.last {
				return true
			}
		}
	}
	return false
}

// write stores what there is. It fails, or fails and is stored, or time passes
// and others go on meanwhile.
func (s *story) write() {
	u, any := s.w.store()
	if rapid.IntRange(0, 3).Draw(s.T, "meanwhile") == 0 {
		s.now = s.now.Add(time.Duration(rapid.IntRange(0, 11).Draw(s.T, "seconds")) * time.Second)
		s.expire()
		s.fetch()
		s.ack()
	}
	how := rapid.SampledFrom([]string{"ok", "ok", "ok", "fails", "unsure"}).Draw(s.T, "write")
	if any && how != "fails" {
		s.start = max(s.start, u.StartOffset)
		for _, b := range u.Batches {
			if b.State == Acquired || b.First > b.Last || b.First < u.StartOffset {
				s.Fatalf("stores %+v from %d on", b, u.StartOffset)
			}
			for o := b.First; o <= b.Last; o++ {
				s.stored[o] = b
			}
		}
	}
	var err error
	if how != "ok" {
		err = kafka.CoordinatorNotAvailable
	}
	s.w.settle(err, s.now)
	s.answer(how == "unsure")
}

// answer tells those whose tickets are settled.
func (s *story) answer(unsure bool) {
	s.sync()
	for _, c := range s.tickets {
		if !c.t.settled {
			continue
		}
		for _, o := range c.final {
			f := s.of(o)
			f.done = f.done || c.t.err == nil
			f.maybe = f.maybe || unsure
		}
		for _, o := range c.closed {
			s.of(o).closed = s.of(o).closed || c.t.err == nil
		}
	}
	s.tickets = slices.DeleteFunc(s.tickets, func(c *claim) bool { return c.t.settled })
}

// sync takes owners over from the window where the model agrees that they
// changed: whoever has no lock any more.
func (s *story) sync() {
	have := map[int64]run{}
	for _, b := range s.w.batches {
		for _, r := range b.runs {
			for o := r.first; o <= r.last; o++ {
				have[o] = r
			}
		}
	}
	for o, f := range s.records {
		r, ok := have[o]
		switch {
		case f.owner == "":
		case ok && r.state == Acquired && r.member == f.owner:
		case ok && r.state == Available && f.given >= int(s.limits.deliveries):
			s.Fatalf("offset %d is available after %d deliveries", o, f.given)
		default:
			f.owner = ""
			if !ok || r.state == Archived {
				f.excused = true
			}
		}
	}
}

func (s *story) expire() {
	for o, f := range s.records {
		if f.owner != "" && !f.until.After(s.now) && !s.waits(o) && f.given >= int(s.limits.deliveries) {
			f.excused = true
		}
	}
	_, wake := s.w.expire(s.now)
	if !wake.IsZero() && !wake.After(s.now) {
		s.Fatalf("a lock that ran out at %v is left at %v", wake, s.now)
	}
	s.sync()
	for o, f := range s.records {
		if f.owner != "" && !f.until.After(s.now) && !s.waits(o) {
			s.Fatalf("offset %d is still with %s", o, f.owner)
		}
	}
}

// trim moves the log's start.
func (s *story) trim() {
	s.logFrom = rapid.Int64Range(s.logFrom, max(s.logFrom, min(s.next, s.logFrom+10))).Draw(s.T, "log start")
	s.log = slices.DeleteFunc(s.log, func(b span) bool { return b.last < s.logFrom })
	s.w.logStart(s.logFrom)
	for o, f := range s.records {
		if o < s.logFrom {
			f.excused, f.gone = true, true
		}
	}
	s.sync()
}

// vanish takes a batch out of the log, as compaction does.
func (s *story) vanish() {
	if len(s.log) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.log)-1).Draw(s.T, "which")
	for o := s.log[i].first; o <= s.log[i].last; o++ {
		s.of(o).excused, s.of(o).gone = true, true
		delete(s.aborted, o)
	}
	s.log = slices.Delete(s.log, i, i+1)
}

// lose is a leader that goes, and comes back with what is stored.
func (s *story) lose() {
	s.w = window{limits: s.limits}
	var batches []Batch
	for o := s.start; o < s.next; o++ {
		b, ok := s.stored[o]
		if !ok {
			continue
		}
		b.First, b.Last = o, o
		if n := len(batches); n > 0 && batches[n-1].Last+1 == o && batches[n-1].State == b.State && batches[n-1].Count == b.Count {
			batches[n-1].Last = o
			continue
		}
		batches = append(batches, b)
	}
	s.w.open(s.start, batches)
	s.w.logStart(s.logFrom)
	for o, f := range s.records {
		f.owner, f.given = "", 0
		if b, ok := s.stored[o]; ok && o >= s.start {
			f.given = int(b.Count)
			if b.State == Archived {
				f.excused = true
			}
		}
		if b, ok := s.stored[o]; ok && final(b.State) && !f.done && !f.maybe && !f.excused {
			s.Fatalf("offset %d is stored as %+v, nobody said so", o, b)
		}
	}
	s.tickets, s.last = nil, map[string][]AcquiredRecords{}
}

func (s *story) check() {
	if err := s.w.verify(); err != nil {
		s.Fatalf("%v", err)
	}
}

// drain lets one member take and accept all that is left.
func (s *story) drain() {
	for range 2000 {
		s.now = s.now.Add(20 * time.Second)
		s.w.store()
		s.w.settle(nil, s.now)
		s.answer(false)
		s.w.expire(s.now)
		letters := s.w.outgoing()
		s.send(letters)
		s.w.sent(letters)
		s.sync()
		from := s.w.next()
		read, aborted := s.read(from, 5)
		if len(read) == 0 {
			break
		}
		rows := s.w.acquire(&acquisition{member: "z", batchSize: 100, max: 100, from: from, read: read, aborted: aborted, now: s.now})
		for _, row := range rows {
			for o := row.First; o <= row.Last; o++ {
				s.give(o, "z", row.Count)
			}
			if _, err := s.w.acknowledge("z", []Ack{{row.First, row.Last, []int8{Accept}}}, s.now); err != nil {
				s.Fatalf("%v", err)
			}
			for o := row.First; o <= row.Last; o++ {
				s.of(o).closed = true
			}
		}
		s.check()
	}
	for o, f := range s.records {
		if o >= s.origin && !f.ever && !f.excused && !f.done && !f.maybe {
			s.Fatalf("offset %d was never handed out: %s", o, s.show())
		}
		if s.limits.letters && f.ever && !f.closed && !f.maybe && !f.gone && f.letters == 0 {
			s.Fatalf("offset %d was given up without a letter: %+v", o, f)
		}
	}
	if last := len(s.log) - 1; last >= 0 && (s.w.held > 0 || s.w.next() <= s.log[last].last) {
		s.Fatalf("not drained: %s", s.show())
	}
}

func (s *story) show() string {
	out := fmt.Sprintf("start %d end %d log %v from %d:", s.w.start, s.w.end, s.log, s.logFrom)
	for _, b := range s.w.batches {
		for _, r := range b.runs {
			out += fmt.Sprintf(" %d-%d=%d", r.first, r.last, r.state)
		}
	}
	return out
}
