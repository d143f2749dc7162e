package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// stuckAfter is how long a member may go without a commit, or commit the same
// offset again, before it is called stuck. Clients commit every five seconds by
// default.
const stuckAfter = time.Minute

// cause is why a partition has unread records: a word for programs, a sentence,
// and what to do about it.
type cause struct{ code, why, next string }

// explainer says why the lag of a group does not shrink.
type explainer struct {
	command string // myelin group
	g       *describedGroup
	f       *lagFacts
}

// explain gives every partition its reason, and the group the list of them, each
// with the partitions it holds for.
func (g *describedGroup) explain(command string, f *lagFacts) {
	e := explainer{command, g, f}
	g.Reasons = []groupReason{}
	if c := e.restless(); c.code != "" {
		g.Reasons = append(g.Reasons, groupReason{c.code, []string{}, c.why, c.next})
	}
	at := map[[2]string]int{} // by word and sentence: the next step is that for the first partition
	if g.State == "NotReady" {
		c := e.notReady()
		at[[2]string{c.code, c.why}] = len(g.Reasons)
		g.Reasons = append(g.Reasons, groupReason{c.code, []string{}, c.why, c.next})
	}
	for i := range g.Offsets {
		o := &g.Offsets[i]
		c := e.cause(o)
		if c.code == "" {
			continue
		}
		o.Reason = c.code
		n, ok := at[[2]string{c.code, c.why}]
		if !ok {
			n = len(g.Reasons)
			at[[2]string{c.code, c.why}] = n
			g.Reasons = append(g.Reasons, groupReason{c.code, nil, c.why, c.next})
		}
		g.Reasons[n].Partitions = append(g.Reasons[n].Partitions, o.place().String())
	}
}

// restless is the cause of a group that rebalances all the time.
func (e explainer) restless() cause {
	n := e.f.tail.recent(e.f.now)
	if n < 10 || len(e.g.Members) == 0 || e.g.Type == shareGroup {
		return cause{} // members of a share group may come and go
	}
	return cause{"rebalances", fmt.Sprintf("the members of the group changed %d times in the last %d minutes", n, int(lately.Minutes())),
		"look for members that die, or that take longer than max.poll.interval.ms for what one poll gives: fewer max.poll.records, or a longer interval"}
}

// cause is the first that applies: what is wrong with the partition, then with
// the group, then with who has the partition.
func (e explainer) cause(o *groupOffset) cause {
	notBegun := e.g.Type == shareGroup && o.Committed < 0 && o.End > o.Start
	if c := e.ofPartition(o); c.code != "" || o.Lag <= 0 && !notBegun {
		return c
	}
	if e.g.Type == shareGroup {
		return e.ofShare(o)
	}
	if c := e.ofGroup(); c.code != "" {
		return c
	}
	if o.Member == "" {
		return e.ofNobody(o)
	}
	return e.ofMember(o)
}

// seek is the command that moves the group in a partition.
func (e explainer) seek(o *groupOffset, to string) string {
	return fmt.Sprintf("%s seek %s --to %s --topics %s", e.command, e.g.Group, to, o.Topic)
}

func (e explainer) ofPartition(o *groupOffset) cause {
	p := o.place()
	switch {
	case e.f.gone[p.topic]:
		return cause{"topic-gone", "the topic does not exist any more",
			fmt.Sprintf("forget what was committed of it: %s offsets delete %s --topics %s", e.command, e.g.Group, p.topic)}
	case e.f.offline[p] || o.End < 0:
		return cause{"offline", "no broker serves the partition now", "find out why: myelin topic describe " + p.topic}
	case o.Error != "":
		return cause{"error", o.Error, ""}
	case o.Committed > o.End:
		return cause{"beyond-end", "the group stands beyond the end: the topic was deleted and made again, or lost records",
			"go back to where it ends: " + e.seek(o, "end")}
	case o.Committed >= 0 && o.Committed < o.Start:
		return cause{"deleted-unread", count(o.Start-o.Committed, "record") + " went before the group read them: retention, or topic trim",
			"go on at the oldest that is left: " + e.seek(o, "start") + "; to keep records longer: myelin topic config set " + p.topic + " retention.ms=..."}
	}
	return cause{}
}

// ofGroup is the cause that all partitions share.
func (e explainer) ofGroup() cause {
	switch e.g.State {
	case "PreparingRebalance", "CompletingRebalance":
		return cause{"rebalancing", "a rebalance is under way" + e.since() + "; nothing is read until all members have joined",
			"if it lasts, look for a member that does not come: " + e.members()}
	case "NotReady":
		return e.notReady()
	}
	if len(e.g.Members) > 0 {
		return cause{}
	}
	next := "start its consumers; to give up what is unread: " + e.command + " seek " + e.g.Group + " --to end"
	if e.g.Type == streamsGroup {
		next = "start the application"
	}
	return cause{"no-members", "nobody reads: the group has no members" + e.since(), next}
}

func (e explainer) members() string { return e.command + " describe " + e.g.Group + " --members" }

// since tells how long the group is as it is, if that is known.
func (e explainer) since() string {
	if n := len(e.f.tail.changes); n > 0 {
		return " (for " + lasting(e.f.now.Sub(e.f.tail.changes[n-1])) + ")"
	}
	return ""
}

// notReady is the cause of a streams group that has no tasks yet.
func (e explainer) notReady() cause {
	var missing []string
	for _, t := range e.g.Topology.sources() {
		if e.f.gone[t] {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return cause{"not-ready", "the application waits for topics that do not exist: " + strings.Join(missing, " "),
			"make them: myelin topic create " + strings.Join(missing, " ")}
	}
	return cause{"not-ready", "the application is not ready" + e.since(), "see what its topics are: myelin streams-group topology " + e.g.Group + "; the reason is in the application's log"}
}

// ofNobody is the cause where no member has the partition.
func (e explainer) ofNobody(o *groupOffset) cause {
	p := o.place()
	wants := func(m groupMember) bool { return slices.Contains(m.Topics, p.topic) || m.Regex != "" }
	heir := slices.IndexFunc(e.g.Members, func(m groupMember) bool { return has(m.Target, p) })
	switch {
	case e.g.State == "Assigning":
		return cause{"assigning", "the group changed, and who gets what is about to be decided" + e.since(), "run this again in some seconds"}
	case heir >= 0:
		m := e.g.Members[heir]
		return cause{"taking-over", fmt.Sprintf("member %s is to have it and has yet to take it over: its epoch is %d, the group's %d", m.client(), m.Epoch, e.g.Epoch),
			"if it lasts, the member hangs or is slow to poll: " + e.members()}
	case e.g.Type == streamsGroup && slices.Contains(e.g.Topology.sources(), p.topic), slices.ContainsFunc(e.g.Members, wants):
		return cause{"not-owned", "no member has it, though members want the topic" + e.since(), "see who has what: " + e.members()}
	}
	return cause{"not-subscribed", "no member subscribes to the topic",
		fmt.Sprintf("if nobody is to read it any more: %s offsets delete %s --topics %s", e.command, e.g.Group, p.topic)}
}

// ofMember is the cause where a member has the partition and does not get on.
func (e explainer) ofMember(o *groupOffset) cause {
	p := o.place()
	i := slices.IndexFunc(e.g.Members, func(m groupMember) bool { return m.Member == o.Member })
	who := "member " + e.g.Members[i].client()
	look := fmt.Sprintf("look at %s at %s; the record it stands at: myelin consume %s --partitions %d --from %d -n 1", who, e.g.Members[i].Host, p.topic, p.partition, max(o.Committed, o.Start))
	if o.Stable < o.End && o.Committed >= o.Stable {
		return e.ofTransaction(p)
	}
	if heir := slices.IndexFunc(e.g.Members, func(m groupMember) bool { return m.Member != o.Member && has(m.Target, p) }); heir >= 0 {
		return cause{"moving", who + " has it and is to give it up to member " + e.g.Members[heir].client(), "if it lasts, " + who + " hangs or is slow to poll: " + e.members()}
	}
	if o.Committed < 0 {
		return cause{"never-committed", who + " has it and has not committed yet" + e.since(), "if it lasts: " + look}
	}
	points := e.f.tail.commits[p]
	if len(points) == 0 {
		return cause{"behind", who + " has it and is behind", "run this again to see whether it catches up"}
	}
	since, last := stands(points)
	switch {
	case e.f.now.Sub(last) >= stuckAfter:
		return cause{"stuck", fmt.Sprintf("%s has not committed for %s", who, lasting(e.f.now.Sub(last))), look}
	case e.f.now.Sub(since) >= stuckAfter:
		return cause{"stuck", fmt.Sprintf("%s commits, but stands at offset %d for %s", who, o.Committed, lasting(e.f.now.Sub(since))), look}
	}
	return e.ofSpeed(o, who, points)
}

// ofTransaction is the cause of a reader of committed records that has come to an
// open transaction.
func (e explainer) ofTransaction(p place) cause {
	t, ok := e.f.open[p]
	if !ok {
		return cause{"open-transaction", "a transaction is open here, and readers of committed records wait for its end", "find it: myelin txn hanging --older 0s " + p.topic}
	}
	why := fmt.Sprintf("the transaction of producer %d is open here, silent for %s, and readers of committed records wait for its end", t.producer, lasting(t.silent))
	if t.id == "" {
		return cause{"open-transaction", why + "; no coordinator knows of it, so nobody will end it",
			fmt.Sprintf("abort it: myelin txn abort %s %d --offset %d", p.topic, p.partition, t.first)}
	}
	return cause{"open-transaction", strings.Replace(why, "of producer", "of "+t.id+", producer", 1),
		"it ends by itself, at the latest after its timeout; see: myelin txn describe " + t.id + "; to abort it now: myelin txn terminate " + t.id}
}

// ofSpeed compares how fast the member reads with how fast others write.
func (e explainer) ofSpeed(o *groupOffset, who string, points []commitPoint) cause {
	reads := speed(points, e.f.now)
	writes, known := e.f.wrote[o.place()]
	switch gain := reads - writes; {
	case reads < 0 || !known:
		_, last := stands(points)
		return cause{"behind", fmt.Sprintf("%s has it; the last commit is %s old", who, lasting(e.f.now.Sub(last))), "run this again to see whether it catches up"}
	case gain > 0:
		return cause{"catching-up", fmt.Sprintf("%s reads %s records a second, %s are written: it catches up in about %s", who, rate(reads), rate(writes),
			lasting(time.Duration(float64(o.Lag)/gain*float64(time.Second)))), ""}
	}
	return cause{"too-slow", fmt.Sprintf("%s reads %s records a second, %s are written: it does not catch up", who, rate(reads), rate(writes)),
		fmt.Sprintf("more members, up to one for each of the %d partitions, or less work for each record", e.partitions(o.Topic))}
}

// partitions counts those of a topic.
func (e explainer) partitions(topic string) (n int) {
	for p := range e.f.end {
		if p.topic == topic {
			n++
		}
	}
	return n
}

// ofShare is the cause in a share group.
func (e explainer) ofShare(o *groupOffset) cause {
	wants := func(m groupMember) bool { return slices.Contains(m.Topics, o.Topic) }
	switch {
	case len(e.g.Members) == 0:
		return cause{"no-members", "nobody reads: the group has no members" + e.since(),
			fmt.Sprintf("start one: myelin consume %s --share %s", o.Topic, e.g.Group)}
	case !slices.ContainsFunc(e.g.Members, wants):
		return cause{"not-subscribed", "no member subscribes to the topic",
			fmt.Sprintf("if nobody is to read it any more: %s offsets delete %s --topics %s, when the group has no members", e.command, e.g.Group, o.Topic)}
	case o.Member == "":
		return cause{"not-owned", "no member is given the partition yet" + e.since(), "see who has what: " + e.members()}
	}
	if o.Committed < 0 {
		return cause{"not-begun", "nothing of it was given out yet; the group begins in it where share.auto.offset.reset says: after the newest record, unless it was set",
			"members get it when they ask for more; to begin elsewhere stop them, then: " + e.seek(o, "start")}
	}
	if d := o.Delivery; d != nil && d.Most > 1 {
		return cause{"repeated", fmt.Sprintf("records come back: members were given some %d times and did not accept or reject them, or not in time", d.Most),
			fmt.Sprintf("look at the first: myelin consume %s --partitions %d --from %d -n 1; after share.delivery.count.limit times a record is given up", o.Topic, o.Partition, d.First)}
	}
	return cause{"behind", "members have it; what they were given and have not acknowledged is locked until share.record.lock.duration.ms has passed",
		"run this again to see whether it falls; more members share the work, also of one partition"}
}

// lasting is a length of time in a few letters: 45s, 3m12s, 2h5m, 3d4h.
func lasting(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// rate is a number per second that a person can read.
func rate(n float64) string {
	if n >= 10 || n == 0 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.2g", n)
}
