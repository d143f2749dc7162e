package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ackOf is what --ack may say of the records that were written.
func ackOf(word string) (kgo.AckStatus, error) {
	switch word {
	case "accept":
		return kgo.AckAccept, nil
	case "release":
		return kgo.AckRelease, nil
	case "reject":
		return kgo.AckReject, nil
	}
	return 0, usage("--ack %s: want accept (done), release (somebody else shall have them) or reject (never again)", word)
}

// sharer is one consume --share under way.
type sharer struct {
	*app
	cl      *kgo.Client
	write   func(*kgo.Record)
	ack     kgo.AckStatus
	written int64
	refused atomic.Int64 // acknowledgements, counted by partition
	why     atomic.Pointer[string]
}

// consumeShare reads as a member of a share group. A record is acknowledged when
// it has been written; what was handed out and not written goes back when the
// command ends.
func (a *app) consumeShare(ctx context.Context, topics []string, f consumeFlags, write func(*kgo.Record)) error {
	ack, err := ackOf(f.ack)
	switch {
	case err != nil:
		return err
	case f.group != "":
		return usage("-g and --share: one of them; a group is of one kind")
	case f.to != "" || len(f.partitions) > 0 || f.readCommitted || f.skipDamaged:
		return usage("--exit, --to, --partitions, --read-committed and --skip-damaged: a share group decides itself what its members get; stop with -n")
	case ack == kgo.AckRelease && f.number == 0:
		return usage("--ack release: say with -n how many: released records come back, also to this member, and after share.delivery.count.limit times never")
	case f.from != "" && f.from != "start" && f.from != "end":
		return usage("--from %s: a new share group starts at start or end; move one with: myelin share-group seek %s --to %s --topics ...", f.from, f.share, f.from)
	}
	s := &sharer{app: a, write: write, ack: ack}
	opts := []kgo.Opt{kgo.ShareGroup(f.share), kgo.ConsumeTopics(topics...), kgo.ShareAckCallback(s.acknowledged)}
	if f.number > 0 { // hold no more than will be written
		opts = append(opts, kgo.ShareMaxRecords(int32(min(f.number, 500))), kgo.ShareMaxRecordsStrict())
	}
	if err := a.shareStart(ctx, topics, f); err != nil {
		return err
	}
	if s.cl, err = a.connect(ctx, opts...); err != nil {
		return err
	}
	err = s.poll(ctx, f.number)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	err = errors.Join(err, s.cl.FlushAcks(end), s.cl.LeaveGroupContext(end))
	s.cl.Close()
	a.hint("%s, %s", count(s.written, "record"), map[kgo.AckStatus]string{kgo.AckAccept: "accepted", kgo.AckRelease: "released", kgo.AckReject: "rejected"}[ack])
	if n := s.refused.Load(); n > 0 && err == nil {
		return &fault{exitPartial, fmt.Sprintf("%d acknowledgements were refused, the last with: %s; those records will be given out again", n, *s.why.Load())}
	}
	return err
}

// shareStart looks whether the topics exist, and sets where a group that does not
// exist yet begins if --from says so.
func (a *app) shareStart(ctx context.Context, topics []string, f consumeFlags) error {
	cl, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return err
	}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return refusal("topic "+t.Topic, t.Err, "")
		}
	}
	_, err = groups{a, shareGroup}.find(ctx, cl, f.share)
	switch isNew := err != nil && classify(err).code == exitNotFound; {
	case err != nil && !isNew:
		return err
	case !isNew && f.from != "":
		return usage("--from %s: share group %s exists and goes on where it stands; move it with: myelin share-group seek %s --to %s", f.from, f.share, f.share, f.from)
	case isNew && f.from == "":
		a.hint("share group %s is new and begins where share.auto.offset.reset says: at the end, unless it was set; --from start gives it all there is", f.share)
	case isNew:
		return shareReset(ctx, cl, f.share, map[string]string{"start": "earliest", "end": "latest"}[f.from])
	}
	return nil
}

// shareReset sets where a share group begins in partitions that are new to it.
func shareReset(ctx context.Context, cl *kgo.Client, group, value string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op, c.Value = "share.auto.offset.reset", kmsg.IncrementalAlterConfigOpSet, &value
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return refusal("group "+group, err, deref(r.ErrorMessage))
		}
	}
	return nil
}

// acknowledged is told what became of acknowledgements, on a goroutine of the
// client.
func (s *sharer) acknowledged(_ *kgo.Client, results kgo.ShareAckResults) {
	for _, r := range results {
		if r.Err != nil {
			text := oneLine(r.Err)
			s.why.Store(&text)
			s.refused.Add(1)
		}
	}
}

// poll writes and acknowledges records until number were written, if that is not
// 0, or ctx ends.
func (s *sharer) poll(ctx context.Context, number int64) error {
	out := bufio.NewWriterSize(s.Out, 64<<10)
	stdout := s.Out
	s.Out = out
	defer func() { s.Out = stdout }()
	for number == 0 || s.written < number {
		most := int64(500)
		if number > 0 {
			most = min(most, number-s.written)
		}
		fetches := s.cl.PollRecords(ctx, int(most))
		var batch []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			s.write(r)
			batch = append(batch, r)
		})
		if err := out.Flush(); err != nil {
			return err // nobody has read them: they go back
		}
		if len(batch) > 0 {
			s.cl.MarkAcks(s.ack, batch...)
			s.written += int64(len(batch))
		}
		if ctx.Err() != nil {
			return nil // the user stopped it
		}
		if err := final(fetches); err != nil {
			return err
		}
	}
	return nil
}

// final is the first error among fetches that will not pass.
func final(fetches kgo.Fetches) (failed error) {
	fetches.EachError(func(topic string, _ int32, err error) {
		if failed == nil && !kerr.IsRetriable(err) && !errors.Is(err, context.Canceled) {
			failed = refusal("topic "+topic, err, "")
		}
	})
	return failed
}
