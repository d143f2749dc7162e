package api

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// sharing is what a connection needs to answer ShareFetch; it is used for one
// request after the other.
type sharing struct {
	wake  *replica.Wake
	ring  func()
	timer *time.Timer
	buf   [4 << 10]byte // headers of batches

	// of the request at work
	req    msg.ShareFetchRequest
	member share.Member
	set    share.Settings
	acks   []sharePartition
	rows   []*shareRow
	nodes  []shareNode
	files  []fileRange
	max    int // bytes of records in the answer
	min    int // bytes worth answering for
	got    int // records acquired
	whole  bool
}

// sharing returns the connection's.
func (c *Call) sharing() *sharing {
	if c.forShare == nil {
		f := &sharing{wake: replica.NewWake()}
		f.ring = f.wake.Ring
		c.forShare = f
	}
	return c.forShare
}

// fetch answers ShareFetch (key 78, versions 1 and 2).
//
// It gives a member records that nobody else has, for as long as the lock lasts.
// When there are none it waits, up to MaxWait, for some to be written, released
// or given up, and no longer than its client is there. The work has five steps, and every error a client can see comes
// from one:
//
//	request  UNSUPPORTED_VERSION, INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED
//	session  SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH,
//	         SHARE_SESSION_LIMIT_REACHED
//	settle   what came along of acknowledgements, see acknowledge
//	acquire  TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID,
//	         UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER,
//	         COORDINATOR_NOT_AVAILABLE, GROUP_ID_NOT_FOUND, KAFKA_STORAGE_ERROR
//	answer   whole ranges of segment files, small ones through memory
//
// The answer has whole batches, also where only a part of their records was
// acquired: AcquiredRecords tells which. Control records are acquired like
// others; members acknowledge them as gaps.
//
// Versions: 2 acquire mode (KIP-1206), locks that are renewed (KIP-1222).
//
// Differs from Apache Kafka: what a member releases is handed out at once, not
// only when MaxWait is over; the end of a session gives back what the member has
// of every partition, not only of those that its session still names; MaxRecords
// is passed by the rest of one batch of the log at most, also where more were
// once handed out as one.
func (h *ShareHandlers) fetch(c *Call, out *Reply) {
	f := c.sharing()
	var r wire.Reader
	r.Reset(c.Body)
	f.req.SetDefaults()
	f.req.Decode(&r, c.Version)
	if r.Failed() {
		c.undecodable(r.Err())
		out.Refuse()
		return
	}
	if code := h.open(c, f); code != kafka.None {
		c.row.stats.Fail()
		resp := msg.NewShareFetchResponse()
		resp.ErrorCode = int16(code)
		out.Buf = resp.Append(out.Buf, c.Version)
		f.end()
		return
	}
	if len(f.acks) > 0 {
		h.settle(c, f.member, f.acks)
	}
	if f.req.ShareSessionEpoch == share.EpochFinal {
		h.Share.End(c.Ctx, f.member)
	} else if f.req.MaxRecords != 0 && f.max != 0 {
		h.gather(c, f)
	}
	h.encode(c, f, out)
	out.Mute = c.Charge(quota.Fetch, int64(out.At()))
	f.end()
}

// open takes the request up: who asks, for what, in which session.
func (h *ShareHandlers) open(c *Call, f *sharing) (code kafka.Code) {
	req := &f.req
	if f.member, code = h.who(c, req.GroupID, req.MemberID); code != kafka.None {
		return code
	}
	f.set = h.Share.Settings(f.member.Group)
	if req.IsRenewAck && (req.MaxBytes != 0 || req.MinBytes != 0 || req.MaxRecords != 0 || req.MaxWaitMs != 0) {
		return kafka.InvalidRequest
	}
	f.max = int(min(req.MaxBytes, h.Data.FetchMaxBytes))
	f.min = min(int(req.MinBytes), f.max)
	f.whole = req.ShareSessionEpoch == share.EpochInitial
	if code = h.step(c, f); code == kafka.None && (req.ShareAcquireMode < 0 || req.ShareAcquireMode > 1) {
		return kafka.UnknownServerError // Kafka's session goes on as well
	}
	return code
}

// step begins, continues or ends the session.
func (h *ShareHandlers) step(c *Call, f *sharing) kafka.Code {
	req := &f.req
	want := f.partitions()
	forget := []share.TopicPartition{}
	for i := range req.ForgottenTopicsData {
		t := &req.ForgottenTopicsData[i]
		for _, p := range t.Partitions {
			forget = append(forget, share.TopicPartition{TopicID: t.TopicID, Partition: p})
		}
	}
	switch req.ShareSessionEpoch {
	case share.EpochInitial:
		if len(f.acks) > 0 {
			return kafka.InvalidRequest
		}
		if twice(want) {
			return kafka.UnknownServerError
		}
		h.watchEnd(c)
		return h.Share.Sessions.Open(f.member, c.Conn.ID, want)
	case share.EpochFinal:
		return h.Share.Sessions.Check(f.member, share.EpochFinal)
	}
	return h.Share.Sessions.Next(f.member, req.ShareSessionEpoch, want, forget)
}

// partitions lists what the request names, and takes the acknowledgements.
func (f *sharing) partitions() (want []share.TopicPartition) {
	renews := f.req.IsRenewAck && f.set.Renews
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			p := sharePartition{TopicPartition: share.TopicPartition{TopicID: t.TopicID, Partition: q.PartitionIndex}}
			want = append(want, p.TopicPartition)
			if len(q.AcknowledgementBatches) > 0 {
				p.takeAcks(q.AcknowledgementBatches, renews)
				f.acks = append(f.acks, p)
			}
		}
	}
	return want
}

// twice says whether a partition is in the list more than once.
func twice(list []share.TopicPartition) bool {
	seen := make(map[share.TopicPartition]bool, len(list))
	for _, tp := range list {
		if seen[tp] {
			return true
		}
		seen[tp] = true
	}
	return false
}

// end drops what the request found.
func (f *sharing) end() {
	for _, p := range f.rows {
		p.res.Range.Release()
	}
	clear(f.rows)
	clear(f.acks)
	f.rows, f.acks, f.nodes, f.got = f.rows[:0], f.acks[:0], f.nodes[:0], 0
	f.req = msg.ShareFetchRequest{}
}

// gather acquires records of the session's partitions, and waits for some where
// there are none.
func (h *ShareHandlers) gather(c *Call, f *sharing) {
	wanted := h.Share.Sessions.Wanted(f.member, nil)
	for _, w := range wanted {
		f.rows = append(f.rows, &shareRow{TopicPartition: w.TopicPartition, owed: w.Owed, named: true})
	}
	until := c.Time.Add(time.Duration(f.req.MaxWaitMs) * time.Millisecond)
	freed := false
	for {
		left := until.Sub(c.Now())
		last := left <= 0 || c.Ctx.Err() != nil
		if c.Conn.Gone.Load() || h.look(c, f, last) || last {
			return
		}
		if !freed {
			freed = true
			c.Free()
		}
		f.wait(c, left)
	}
}

// look acquires what it can and says whether the request is to be answered now:
// there is something, or nothing can come.
func (h *ShareHandlers) look(c *Call, f *sharing, last bool) bool {
	usable, moved := 0, false
	for _, p := range f.rows {
		h.find(c, f, p)
		if !p.early {
			usable++
		}
		moved = moved || p.code == kafka.NotLeaderOrFollower // the sooner it asks there, the better
	}
	if usable == 0 {
		return true
	}
	if f.min > 1 && !last && !moved && !h.enough(f) {
		return false
	}
	left := f.max
	for i, p := range f.rows {
		if p.code != kafka.None {
			continue
		}
		p.maxBytes = left / (len(f.rows) - i)
		h.acquire(c, f, p)
		left = max(0, left-p.res.Range.Len())
	}
	return f.got > 0 || moved
}

// find looks for the partition's log and its share partition.
func (h *ShareHandlers) find(c *Call, f *sharing, p *shareRow) {
	if p.code != kafka.None {
		return // told once it is answered
	}
	topic := topicRef{id: p.TopicID, byID: true}
	r, err := h.Data.readable(c, &topic, p.Partition, auth.Read)
	if err != nil {
		p.fail(kafka.CodeOf(err), true)
		return
	}
	p.log = r
	if p.at != nil && p.at.Gone() == nil {
		return
	}
	if p.at, err = h.Share.Partition(c.Ctx, f.member.Group, p.TopicPartition); err != nil {
		c.t.cfg.Logger.Warn("no share partition", "group", f.member.Group, "partition", r.TopicPartition(), "err", err)
		p.fail(kafka.CodeOf(err), false)
	}
}

// wait parks until there may be more to acquire, for at most d.
func (f *sharing) wait(c *Call, d time.Duration) {
	f.wake.Arm(1)
	for _, p := range f.rows {
		if p.code != kafka.None {
			continue
		}
		p.freed.Ring = f.ring
		p.at.Watch(&p.freed)
		if p.reads {
			p.grown.Wake, p.grown.Isolation = f.wake, f.isolation()
			p.log.Watch(&p.grown)
		}
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.ring)
	} else {
		f.timer.Reset(d)
	}
	c.Conn.Park.Forward(&f.ring)
	c.Conn.Parked.Store(true)
	if c.Ctx.Err() == nil {
		<-f.wake.Bell()
	}
	c.Conn.Parked.Store(false)
	c.Conn.Park.Forward(nil)
	f.timer.Stop()
	for _, p := range f.rows {
		if p.code != kafka.None {
			continue
		}
		p.at.Unwatch(&p.freed)
		if p.reads {
			p.log.Unwatch(&p.grown)
		}
	}
}

func (f *sharing) isolation() replica.Isolation {
	if f.set.Committed {
		return replica.ReadCommitted
	}
	return replica.ReadUncommitted
}

// encode appends the answer: in a session that goes on only what is new. What
// was refused comes first, what was only acknowledged last, as in Kafka.
func (h *ShareHandlers) encode(c *Call, f *sharing, out *Reply) {
	rows := h.tellable(f)
	topics := 0
	for i, p := range rows {
		if i == 0 || rows[i-1].TopicID != p.TopicID {
			topics++
		}
	}
	resp := msg.NewShareFetchResponse()
	resp.AcquisitionLockTimeoutMs = lockMillis(&f.set)
	out.Buf = resp.AppendBeforeResponses(out.Buf, c.Version, topics)
	clear(f.files)
	f.files = slices.Grow(f.files[:0], len(rows)) // pointers into it are kept
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].TopicID == rows[0].TopicID {
			n++
		}
		t := msg.ShareFetchResponseResponse{TopicID: rows[0].TopicID}
		out.Buf = t.AppendBeforePartitions(out.Buf, c.Version, n)
		for _, p := range rows[:n] {
			h.encodeRow(c, f, p, out)
		}
		out.Buf = t.AppendAfterPartitions(out.Buf, c.Version)
		rows = rows[n:]
	}
	for _, n := range f.nodes {
		resp.NodeEndpoints = append(resp.NodeEndpoints, msg.ShareFetchResponseNodeEndpoint(n))
	}
	out.Buf = resp.AppendAfterResponses(out.Buf, c.Version)
}

// tellable are the rows of the answer, those of a topic together.
func (h *ShareHandlers) tellable(f *sharing) []*shareRow {
	for i := range f.acks {
		a := &f.acks[i]
		j := slices.IndexFunc(f.rows, func(p *shareRow) bool { return p.TopicPartition == a.TopicPartition })
		if j < 0 {
			j = len(f.rows)
			f.rows = append(f.rows, &shareRow{TopicPartition: a.TopicPartition})
		}
		f.rows[j].ack = a
	}
	var out []*shareRow
	for _, p := range f.rows {
		records := len(p.rows) > 0
		if !f.whole && p.code == kafka.None && !records && p.ack == nil && !p.owed {
			continue
		}
		out = append(out, p)
		if p.named {
			h.Share.Sessions.Told(f.member, p.TopicPartition, records, p.code != kafka.None)
		}
	}
	first := map[kafka.UUID]int{}
	slices.SortStableFunc(out, func(a, b *shareRow) int { return a.rank() - b.rank() })
	for i, p := range out {
		if _, ok := first[p.TopicID]; !ok {
			first[p.TopicID] = i
		}
	}
	slices.SortStableFunc(out, func(a, b *shareRow) int { return first[a.TopicID] - first[b.TopicID] })
	return out
}

// encodeRow appends a row. A small range is read here, so that a read that fails
// can still become an error code; what was acquired then comes back when the
// lock runs out.
func (h *ShareHandlers) encodeRow(c *Call, f *sharing, p *shareRow, out *Reply) {
	row := h.fill(c, f, p)
	if p.code != kafka.None {
		c.row.stats.Fail()
	}
	n := p.res.Range.Len()
	mark := len(out.Buf)
	out.Buf = row.AppendBeforeRecords(out.Buf, c.Version, n)
	if n > 0 {
		f.files = append(f.files, fileRange{p.take()})
		if err := out.AddFile(&f.files[len(f.files)-1]); err != nil {
			c.t.cfg.Logger.Error("ShareFetch cannot read", "partition", p.log.TopicPartition(), "err", err)
			out.Buf = out.Buf[:mark]
			p.code, p.rows = kafka.KafkaStorageError, nil
			row = h.fill(c, f, p)
			out.Buf = row.AppendBeforeRecords(out.Buf, c.Version, 0)
		}
	}
	out.Buf = row.AppendAfterRecords(out.Buf, c.Version)
}

// fill makes a row of the answer but for its records.
func (h *ShareHandlers) fill(c *Call, f *sharing, p *shareRow) msg.ShareFetchResponseResponsePartition {
	row := msg.ShareFetchResponseResponsePartition{PartitionIndex: p.Partition, ErrorCode: int16(p.code)}
	if p.ack != nil {
		row.AcknowledgeErrorCode, row.AcknowledgeErrorMessage = int16(p.ack.code), p.ack.why
	}
	code := p.code
	if code == kafka.None && p.ack != nil {
		code = p.ack.code
	}
	leader, b := h.leaderOf(c, p.TopicPartition, code)
	row.CurrentLeader.LeaderID, row.CurrentLeader.LeaderEpoch = leader.id, leader.epoch
	f.nodes = addNode(f.nodes, h.node(c, b))
	for _, r := range p.rows {
		row.AcquiredRecords = append(row.AcquiredRecords, msg.ShareFetchResponseResponsePartitionAcquiredRecord{
			FirstOffset: r.First, LastOffset: r.Last, DeliveryCount: r.Count})
	}
	return row
}
