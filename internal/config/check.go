package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Notice is something about a static setting that its author should know, but
// that does not keep a broker from starting.
type Notice struct {
	Name, Origin, Text string
}

func (n Notice) String() string { return n.Origin + ": " + n.Text }

// Check judges the static settings of a broker before it starts. The error joins
// all that is wrong, one line each with where it was set; notices tell of names
// that nobody knows and of settings without effect.
func Check(set Settings) ([]Notice, error) {
	var notices []Notice
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		s := set[name]
		d, ok := Lookup(BrokerScope, name)
		if !ok {
			notices = append(notices, Notice{name, s.Origin, unknown(name)})
			continue
		}
		v, err := Parse(d, s.Value)
		if err == nil {
			err = limits(d, v)
		}
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", s.Origin, err))
		case v.Text == d.DefaultValue().Text:
		case d.Status == Refused:
			wrong = append(wrong, fmt.Errorf("%s: %s=%s is refused: %s", s.Origin, name, s.Value, d.Reason))
		case name == "broker.session.timeout.ms" && v.Int64() > slowSession:
			notices = append(notices, Notice{name, s.Origin, fmt.Sprintf("broker.session.timeout.ms=%d: what a broker leads is away for that long "+
				"when its machine dies; the default here is %s, not Kafka's %s", v.Int64(), d.DefaultValue().Text, d.KafkaDefault)})
		case d.Status == Noted:
			notices = append(notices, Notice{name, s.Origin, fmt.Sprintf("%s has no effect: %s", name, d.Reason)})
		}
	}
	if wrong != nil {
		return notices, errors.Join(wrong...)
	}
	if doubled(set["group.streams.rack.aware.assignment.tags"].Value) {
		return notices, errors.New("group.streams.rack.aware.assignment.tags has a tag twice: name each once")
	}
	return notices, checkTogether(NewBroker(set))
}

// slowSession is the broker.session.timeout.ms, in ms, above which its author is told
// what it means; Kafka's default, which files that move here may hold, is above it.
const slowSession = 3000

// checkTogether judges what properties mean together.
func checkTogether(b *Broker) error {
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if b.IsSet("node.id") && b.IsSet("broker.id") && b.Int64("node.id") != b.Int64("broker.id") {
		fail("You must set `node.id` to the same value as `broker.id`.")
	}
	roles := b.List("process.roles")
	if len(roles) == 0 {
		fail("process.roles is empty: want broker, controller or both")
	}
	if !slices.Contains(roles, "controller") && len(b.List("controller.quorum.voters")) == 0 && len(b.List("controller.quorum.bootstrap.servers")) == 0 {
		fail("process.roles has no controller: name where they are in controller.quorum.bootstrap.servers or controller.quorum.voters")
	}
	for i, dir := range b.DataDirs() {
		if slices.Contains(b.DataDirs()[:i], dir) {
			fail("log.dirs names %s twice", dir)
		}
	}
	if err := checkCordoned(b, b.List("cordoned.log.dirs")); err != nil {
		wrong = append(wrong, err)
	}
	if _, err := b.Listeners(); err != nil {
		wrong = append(wrong, err)
	} else if _, err := b.Advertised(); err != nil {
		wrong = append(wrong, err)
	} else if err := checkListenerNames(b); err != nil {
		wrong = append(wrong, err)
	}
	for _, o := range ordered {
		if low, high := b.Int64(o[0]), b.Int64(o[1]); low > high {
			fail("%s (%d) must be less than or equal to %s (%d)", o[0], low, o[1], high)
		}
	}
	for _, p := range groupSessions {
		if b.Int64("group."+p.beat) >= b.Int64("group."+p.session) {
			fail("group.%s must be less than group.%s", p.beat, p.session)
		}
	}
	if !slices.Contains(b.List("group.coordinator.rebalance.protocols"), "classic") {
		fail("group.coordinator.rebalance.protocols has no classic: that protocol cannot be turned off")
	}
	if beat, session := b.Int64("broker.heartbeat.interval.ms"), b.Int64("broker.session.timeout.ms"); beat > session/2 {
		fail("broker.heartbeat.interval.ms (%d ms) must be less than or equal to half of the broker.session.timeout.ms (%d ms)", beat, session)
	}
	return errors.Join(wrong...)
}

// ordered are pairs of which the first may not be greater than the second.
var ordered = [][2]string{
	{"group.min.session.timeout.ms", "group.max.session.timeout.ms"},
	{"group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"},
	{"group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"},
	{"group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"group.share.min.session.timeout.ms", "group.share.session.timeout.ms"},
	{"group.share.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"},
	{"group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"},
	{"group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"group.share.min.delivery.count.limit", "group.share.delivery.count.limit"},
	{"group.share.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"group.share.min.partition.max.record.locks", "group.share.partition.max.record.locks"},
	{"group.share.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"},
	{"group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"},
	{"group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"group.streams.num.standby.replicas", "group.streams.max.standby.replicas"},
	{"log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"},
	{"replica.fetch.wait.max.ms", "replica.socket.timeout.ms"},
	{"replica.fetch.wait.max.ms", "replica.lag.time.max.ms"},
	{"offset.metadata.max.bytes", "message.max.bytes"},
}

// checkListenerNames finds names that other properties give to listeners.
func checkListenerNames(b *Broker) error {
	listeners, _ := b.Listeners()
	has := func(name string) bool {
		return slices.ContainsFunc(listeners, func(l Listener) bool { return l.Name == name })
	}
	if b.IsSet("inter.broker.listener.name") && b.IsSet("security.inter.broker.protocol") {
		return errors.New("only one of inter.broker.listener.name and security.inter.broker.protocol may be set")
	}
	if name := strings.ToUpper(b.String("inter.broker.listener.name")); name != "" && !has(name) {
		return fmt.Errorf("inter.broker.listener.name is %s, but listeners has %s", name, listenerNames(listeners))
	}
	for _, l := range listeners {
		switch {
		case strings.HasSuffix(l.Protocol, "SSL"):
			return fmt.Errorf("listener %s uses %s: TLS is not served yet; use PLAINTEXT or SASL_PLAINTEXT on a network you trust", l.Name, l.Protocol)
		case l.SASL() && l.Controller:
			return fmt.Errorf("listener %s of the controllers uses %s: brokers cannot authenticate to each other yet; use PLAINTEXT on a network you trust", l.Name, l.Protocol)
		case l.SASL():
			if err := SASLOf(b, l.Name).check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func listenerNames(all []Listener) string {
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

// checkCordoned says whether these can be cordoned: directories of the node, or
// * alone for all.
func checkCordoned(b *Broker, list []string) error {
	if slices.Contains(list, "*") {
		if len(list) > 1 {
			//lint:ignore ST1005 Kafka's words
			return errors.New("When cordoned.log.dirs is set to *, it must not contain other values")
		}
		return nil
	}
	var missing []string
	for _, dir := range list {
		if !slices.Contains(b.DataDirs(), dir) {
			missing = append(missing, dir)
		}
	}
	if missing != nil {
		return fmt.Errorf("All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : %s", strings.Join(missing, ", "))
	}
	return nil
}
