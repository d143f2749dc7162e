package api

import (
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// fetching is what a connection needs to answer Fetch; it is used for one
// request after the other.
type fetching struct {
	r    wire.Reader
	req  msg.FetchRequest
	resp msg.FetchResponse
	head msg.FetchResponseResponse
	part msg.FetchResponseResponsePartition

	aborted []msg.FetchResponseResponsePartitionAbortedTransaction // never nil, which means null
	session *fetchSession                                          // nil without one
	own     fetchSet                                               // the partitions of a request without a session
	spare   *fetchPartition
	files   []fileRange

	// of the request at work
	set      *fetchSet
	max      int32 // bytes of records in the answer
	min      int32 // bytes worth answering for
	isolate  replica.Isolation
	follower bool
	who      follower
	ration   ration // of throttled partitions
	behind   bool   // there is a high watermark that the follower was not told
	told     bool   // it has been woken for that
	whole    bool   // every partition goes into the answer
	hints    bool   // the version tells whom to ask instead

	endpoints []msg.FetchResponseNodeEndpoint // of whom to ask instead

	wake  *replica.Wake
	ring  func()
	timer *time.Timer
}

// fetching returns the connection's.
func (c *Call) fetching() *fetching {
	if c.forFetch == nil {
		f := &fetching{wake: replica.NewWake(), aborted: []msg.FetchResponseResponsePartitionAbortedTransaction{}}
		f.ring = f.wake.Ring
		c.forFetch = f
	}
	return c.forFetch
}

// fetch answers Fetch (key 1, versions 4 to 18).
//
// It hands out whole batches from the one that holds each partition's offset on.
// When they come to less than MinBytes it waits, up to MaxWait, for more. The
// work has four steps, and every error a client can see comes from one:
//
//	session    FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH,
//	           FETCH_SESSION_TOPIC_ID_ERROR
//	locate     TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION,
//	           UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER
//	read       OFFSET_OUT_OF_RANGE, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
//	           KAFKA_STORAGE_ERROR
//	answer     whole ranges of segment files, small ones through memory
//
// A batch larger than every limit is still handed out, alone (KIP-74).
//
// Versions: 5 log start offset, 7 sessions (KIP-227), 9 leader epoch (KIP-320), 11
// rack, 12 last fetched epoch, flexible, 13 topic ids (KIP-516), 15 replica state
// (KIP-903), 16 whom to ask instead (KIP-951), 17 directory id, 18 high watermark
// (KIP-1166).
//
// For followers see fetch_follower.go. Consumers may read from any replica from
// version 11 on, up to the high watermark that it knows, and are told of one in
// their own rack (KIP-392).
func (h *DataHandlers) fetch(c *Call, out *Reply) {
	f := c.fetching()
	f.r.Reset(c.Body)
	f.req.Decode(&f.r, c.Version)
	if f.r.Failed() {
		c.undecodable(f.r.Err())
		out.Refuse()
		return
	}
	f.begin(h)
	h.recognize(c, f)
	if f.req.IsolationLevel < 0 || f.req.IsolationLevel > 1 {
		f.failAll(c, out, kafka.UnknownServerError)
	} else if code := h.fetchSession(c, f); code != kafka.None {
		f.fail(c, out, code)
	} else {
		if !h.ready(c, f) {
			h.await(c, f)
		}
		h.charge(c, f)
		f.encode(c, out, kafka.None)
		if !f.follower {
			out.Mute = c.Charge(quota.Fetch, int64(out.At()))
		}
	}
	f.end(h)
}

// begin prepares for the request that was decoded.
func (f *fetching) begin(h *DataHandlers) {
	f.max = min(f.req.MaxBytes, h.FetchMaxBytes)
	f.min = min(f.req.MinBytes, f.max)
	f.isolate = replica.Isolation(f.req.IsolationLevel)
	f.endpoints = f.endpoints[:0]
	f.whole, f.session, f.set = true, nil, &f.own
	clear(f.files) // the answer that had them was sent
	f.files = f.files[:0]
}

// end drops what the request found, and gives the session back.
func (f *fetching) end(h *DataHandlers) {
	for p := f.set.head; p != nil; p = p.next {
		p.forget()
	}
	if f.session != nil {
		h.Sessions.give(f.session)
	}
	for f.own.head != nil {
		p := f.own.head
		f.own.remove(p)
		p.next, f.spare = f.spare, p
	}
	if len(f.req.Topics) > 16 || f.set.size > 64 {
		f.spare, f.files = nil, nil
		f.req = msg.FetchRequest{}
	}
	f.session, f.set = nil, &f.own
}

// fetchSession finds the partitions that the request is about: those it lists,
// or those that its session remembers.
func (h *DataHandlers) fetchSession(c *Call, f *fetching) kafka.Code {
	req, byID := &f.req, c.Version >= 13
	switch {
	case req.SessionEpoch == epochInitial && c.Version >= 7:
		h.Sessions.end(req.SessionID)
		f.session = h.Sessions.begin(byID, f.follower, countPartitions(req))
		if f.session == nil {
			f.list(byID)
			return kafka.None
		}
		req.ForgottenTopicsData = req.ForgottenTopicsData[:0]
		f.session.update(req)
		f.set = &f.session.set
		return kafka.None
	case req.SessionEpoch == epochFinal || c.Version < 7:
		if req.SessionID != 0 {
			h.Sessions.end(req.SessionID)
		}
		f.list(byID)
		return kafka.None
	}
	s, code := h.Sessions.take(req.SessionID, req.SessionEpoch, byID)
	if code != kafka.None {
		return code
	}
	f.session, f.whole = s, false
	s.update(req)
	f.set = &s.set
	if s.set.size == 0 {
		h.Sessions.end(s.id)
		f.session, f.set = nil, &f.own
	}
	return kafka.None
}

func countPartitions(req *msg.FetchRequest) (n int) {
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	return n
}

// list takes the partitions of a request without a session. One that is listed
// twice counts as its last.
func (f *fetching) list(byID bool) {
	var seen map[fetchKey]*fetchPartition
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		ref := topicRef{name: t.Topic, id: t.TopicID, byID: byID}
		for j := range t.Partitions {
			q := &t.Partitions[j]
			if seen == nil && (i > 0 || j > 0 && q.Partition <= t.Partitions[j-1].Partition) {
				seen = make(map[fetchKey]*fetchPartition)
				for p := f.own.head; p != nil; p = p.next {
					seen[p.key()] = p
				}
			}
			k := fetchKey{ref.name, ref.id, q.Partition}
			p := seen[k]
			if p == nil {
				p = f.take()
				p.topic, p.index = ref, q.Partition
				f.own.add(p)
				if seen != nil {
					seen[k] = p
				}
			}
			p.want(q)
		}
	}
}

// take returns a fetchPartition that was used before, or a new one.
func (f *fetching) take() *fetchPartition {
	p := f.spare
	if p == nil {
		return &fetchPartition{toldHW: -1, toldStart: -1}
	}
	f.spare, p.next = p.next, nil
	return p
}

// ready reads every partition and says whether there is something to answer at
// once: enough bytes, an error of a log, or no time to wait.
func (h *DataHandlers) ready(c *Call, f *fetching) bool {
	left, one := f.max, true
	total, logs, failed := 0, 0, false
	f.behind, f.ration = false, ration{}
	for p := f.set.head; p != nil; p = p.next {
		p.forget()
		h.read(c, f, p, min(p.maxBytes, left), one)
		n := p.res.Range.Len()
		f.ration.spend(p)
		if n > 0 {
			one = false
			total += n
			left = max(0, left-int32(min(n, int(left))))
		}
		if !p.early {
			logs++
			failed = failed || p.code != kafka.None || p.res.Diverging != nil || p.nearer >= 0
			f.behind = f.behind || f.follower && p.res.HW > p.toldHW
		}
	}
	f.who.noted = true
	return logs == 0 || failed || total >= int(f.min) || f.req.MaxWaitMs <= 0
}

// read reads one partition.
func (h *DataHandlers) read(c *Call, f *fetching, p *fetchPartition, maxBytes int32, one bool) {
	r, err := h.readable(c, &p.topic, p.index, auth.Read)
	switch {
	case err != nil:
		p.code = kafka.CodeOf(err)
		p.early = p.code != kafka.NotLeaderOrFollower && p.code != kafka.KafkaStorageError
		return
	case maxBytes < 0:
		p.code = kafka.UnknownServerError
		return
	}
	p.watched = r
	q := replica.Read{Offset: p.offset, MaxBytes: int(maxBytes), MinOne: one, Isolation: f.isolate,
		CurrentEpoch: p.currentEpoch, LastFetchedEpoch: p.lastEpoch, FromLeader: f.follower || c.Version < 11}
	switch {
	case f.follower:
		err = h.readFollower(c, f, p, q)
	case h.RackAware && f.req.RackID != "" && c.Version >= 11:
		if p.nearer = h.nearer(r, f.req.RackID, p.offset); p.nearer >= 0 {
			q.MaxBytes, q.MinOne = 0, false
		}
		fallthrough
	default:
		p.res, err = r.Read(q)
	}
	if err != nil {
		p.nearer = kafka.NoBroker
		p.code = kafka.CodeOf(err)
		if p.code == kafka.NotLeaderOrFollower || p.code == kafka.FencedLeaderEpoch {
			h.redirect(c, f, p)
		}
		if p.code == kafka.UnknownServerError {
			c.t.cfg.Logger.Warn("Fetch failed", "topic", p.topic.name, "partition", p.index, "err", err)
		}
	}
}

// readable finds the replica of a partition on which the caller may do op.
func (h *DataHandlers) readable(c *Call, t *topicRef, partition int32, op auth.Operation) (*replica.Replica, error) {
	if !t.byID && !c.Allowed(op, auth.Topic, t.name) {
		return nil, kafka.TopicAuthorizationFailed
	}
	r, err := h.find(t, partition)
	if err == nil && t.byID && !c.Allowed(op, auth.Topic, r.TopicPartition().Topic) {
		return nil, kafka.TopicAuthorizationFailed
	}
	return r, err
}

// await waits until there is something to answer, and reads it. It holds no
// buffers meanwhile. At the end of MaxWait what there is has to do.
func (h *DataHandlers) await(c *Call, f *fetching) {
	c.Free()
	until := c.Time.Add(time.Duration(f.req.MaxWaitMs) * time.Millisecond)
	if f.follower && h.Turnover != nil {
		h.Turnover.enter(f.wake)
		defer h.Turnover.leave(f.wake)
	}
	for {
		until = h.hasten(c, f, until)
		left := until.Sub(c.Now())
		if left <= 0 || c.Ctx.Err() != nil {
			return
		}
		f.wait(c, left)
		if h.ready(c, f) {
			return
		}
	}
}

// wait parks until enough bytes came to the partitions, or something else
// happened that a fetch must look at, for at most d.
func (f *fetching) wait(c *Call, d time.Duration) {
	got := 0
	for p := f.set.head; p != nil; p = p.next {
		got += p.res.Range.Len()
	}
	f.wake.Arm(int64(f.min) - int64(got))
	for p := f.set.head; p != nil; p = p.next {
		if p.watched != nil && p.code == kafka.None {
			p.watch.Wake, p.watch.Isolation = f.wake, f.isolate
			p.watch.Seen, p.watch.ToHW = p.res.HW, false
			switch f.isolate {
			case replica.ReadCommitted:
				p.watch.Seen = p.res.LSO
			case replica.ReadAll:
				p.watch.Seen, p.watch.ToHW, p.watch.HW = p.res.LogEnd, !f.told, p.res.HW
			}
			p.watched.Watch(&p.watch)
		}
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.ring)
	} else {
		f.timer.Reset(d)
	}
	c.Conn.Park.Forward(&f.ring)
	if c.Ctx.Err() == nil {
		<-f.wake.Bell()
	}
	c.Conn.Park.Forward(nil)
	f.timer.Stop()
	for p := f.set.head; p != nil; p = p.next {
		if p.watched != nil {
			p.watched.Unwatch(&p.watch)
		}
	}
}

// fail answers an error of the session.
func (f *fetching) fail(c *Call, out *Reply, code kafka.Code) {
	c.row.stats.Fail()
	f.resp = msg.FetchResponse{ErrorCode: int16(code)}
	out.Buf = f.resp.Append(out.Buf, c.Version)
}

// failAll answers an error of the request, before version 13 for every partition
// too.
func (f *fetching) failAll(c *Call, out *Reply, code kafka.Code) {
	if c.Version >= 13 {
		f.fail(c, out, code)
		return
	}
	f.list(false)
	for p := f.set.head; p != nil; p = p.next {
		p.forget()
		p.code, p.early = code, true
	}
	f.encode(c, out, code)
}
