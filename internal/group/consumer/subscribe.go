package consumer

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// topicsWith are the topics that are subscribed to once a member has changed.
// What a new pattern matches is not known before it is resolved.
func (b *book) topicsWith(was, is *member) []string {
	if slices.Equal(was.topics, is.topics) && was.pattern() == is.pattern() {
		return slices.Sorted(maps.Keys(b.topics))
	}
	left := maps.Clone(b.topics)
	if left == nil {
		left = map[string]uses{}
	}
	add := func(topics []string, more uses) {
		for _, t := range topics {
			u := left[t]
			u.names, u.regexes = u.names+more.names, u.regexes+more.regexes
			left[t] = u
		}
	}
	add(was.topics, uses{names: -1})
	if p := was.pattern(); p != "" && p != is.pattern() && b.patterns[p] == 1 {
		add(b.matched(p), uses{regexes: -1})
	}
	add(is.topics, uses{names: 1})
	maps.DeleteFunc(left, func(_ string, u uses) bool { return u.names <= 0 && u.regexes <= 0 })
	return slices.Sorted(maps.Keys(left))
}

// preferred is the assignor that most members ask for, once one has changed; of
// two, the one that is configured first. Both nil: as it is.
func (b *book) preferred(was, is *member) string {
	best, votes := "", 0
	for _, name := range b.cfg.assignors() {
		n := b.chosen[name]
		if was != nil && was.assignor != nil && *was.assignor == name {
			n--
		}
		if is != nil && is.assignor != nil && *is.assignor == name {
			n++
		}
		if n > votes {
			best, votes = name, n
		}
	}
	if best == "" {
		return b.cfg.assignors()[0]
	}
	return best
}

// patternChange is what a heartbeat does to a member's pattern.
type patternChange int8

const (
	patternSame    patternChange = iota
	patternNew                   // what it matches is not known yet
	patternMatched               // another member has the pattern, or there is none any more
)

// pattern takes in the pattern of a member, and asks for patterns to be matched
// if they have not been since topics were made, but not again and again.
func (c *change) pattern(was, is *member) (patternChange, error) {
	g := c.g
	before, after := was.pattern(), is.pattern()
	result, fresh := patternSame, false
	if !same(was.regex, is.regex) {
		result = patternNew
		if before != "" && g.patterns[before] == 1 {
			c.put(g.regexTombstone(before))
		}
		switch {
		case after == "":
			if before != "" {
				result = patternMatched
			}
		case g.patterns[after] > 0:
			if g.regexes[after] != nil {
				result = patternMatched
			}
		default:
			if _, err := compile(after); err != nil {
				return 0, invalidPattern(after, err)
			}
			fresh = true
		}
	}
	if !fresh && len(g.patterns) == 0 || g.resolve != nil {
		return result, nil
	}
	at, version := g.lastMatch()
	if !at.IsZero() && !c.now.After(at.Add(regexPause)) {
		return result, nil
	}
	wanted := len(g.patterns)
	if before != after {
		if before != "" && g.patterns[before] == 1 {
			wanted--
		}
		if after != "" && g.patterns[after] == 0 {
			wanted++
		}
	}
	if wanted > 0 && (fresh || wanted != len(g.regexes) || g.newNames(c.topics, version) || c.now.After(at.Add(g.cfg.regexRefresh()))) {
		g.resolve, g.wake = &resolve{}, c.now
		if c.who.Describer != nil {
			g.resolve.may = c.who.Describer()
		}
	}
	return result, nil
}

// newNames says whether topics came or went since the patterns were matched
// against a picture of them.
func (g *Group) newNames(topics kind.Topics, version int64) bool {
	if version == topics.Version() {
		return false
	}
	return g.names == nil || !slices.Equal(g.names, topics.Names())
}

// lastMatch is when the patterns were matched last, and against which topics.
func (b *book) lastMatch() (at time.Time, version int64) {
	for _, r := range b.regexes {
		if t := time.UnixMilli(r.at); t.After(at) {
			at, version = t, r.version
		}
	}
	return at, version
}

// match matches all patterns of the group and begins a new epoch if any matches
// other topics than before.
func (g *Group) match(now time.Time) []coordinator.Record {
	may := g.resolve.may
	g.resolve = nil
	topics := g.cfg.Topics()
	g.names = topics.Names()
	var records []coordinator.Record
	left := maps.Clone(g.topics)
	if left == nil {
		left = map[string]uses{}
	}
	changed := false
	for _, pattern := range slices.Sorted(maps.Keys(g.patterns)) {
		n := &matches{topics: find(topics, pattern, may), version: topics.Version(), at: now.UnixMilli()}
		if old := g.matched(pattern); !slices.Equal(old, n.topics) {
			changed = true
			for _, t := range old {
				left[t] = uses{left[t].names, left[t].regexes - 1}
			}
			for _, t := range n.topics {
				left[t] = uses{left[t].names, left[t].regexes + 1}
			}
		}
		records = append(records, g.regexRecord(pattern, n))
	}
	maps.DeleteFunc(left, func(_ string, u uses) bool { return u.names <= 0 && u.regexes <= 0 })
	if hash := kind.MetadataHash(slices.Sorted(maps.Keys(left)), topics); changed || hash != g.hash {
		records = append(records, g.epochRecord(g.epoch+1, hash))
		g.seen, g.looked = topics.Version(), true
	}
	return records
}

// find are the topics whose whole name matches a pattern, in order. Internal
// ones do match, as in Kafka 4.4. A pattern that is none, which only another
// version can have stored, matches nothing.
func find(topics kind.Topics, pattern string, may func(string) bool) []string {
	re, err := compile(pattern)
	if err != nil {
		return nil
	}
	var found []string
	for _, name := range topics.Names() {
		if re.MatchString(name) && (may == nil || may(name)) {
			found = append(found, name)
		}
	}
	return found
}

// compile makes a pattern that has to match a whole name. The syntax is RE2's, as
// in Kafka.
func compile(pattern string) (*regexp.Regexp, error) {
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

func invalidPattern(pattern string, err error) error {
	why := err.Error()
	if e, ok := err.(*syntax.Error); ok {
		why = e.Code.String()
	}
	return kind.Refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", pattern, why)
}
