package wirecmp

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Differences compares two reactions to one request and says, a line each,
// where they part: "Path: a | b".
func Differences(key, version int16, outcomes [2]string, answers [2][]byte) []string {
	if outcomes[0] != outcomes[1] {
		return []string{"outcome: " + outcomes[0] + " | " + outcomes[1]}
	}
	if outcomes[0] != Answered {
		return nil
	}
	var flat [2]map[string]string
	for i, b := range answers {
		resp, ok := msg.NewResponse(key)
		if !ok {
			return []string{fmt.Sprintf("no response type for key %d", key)}
		}
		r := wire.NewReader(b)
		resp.Decode(r, version)
		if err := r.Done(); err != nil {
			return []string{fmt.Sprintf("decoding: answer %d: %v", i, err)}
		}
		flat[i] = map[string]string{}
		flatten(reflect.ValueOf(resp).Elem(), "", flat[i])
	}
	return diff(flat[0], flat[1])
}

func diff(a, b map[string]string) []string {
	var out []string
	for k, v := range a {
		if w, ok := b[k]; !ok && !within(k, b) {
			out = append(out, k+": "+v+" | (absent)")
		} else if ok && v != w {
			out = append(out, k+": "+v+" | "+w)
		}
	}
	for k, w := range b {
		if _, ok := a[k]; !ok && !within(k, a) {
			out = append(out, k+": (absent) | "+w)
		}
	}
	sort.Strings(out)
	return out
}

// within says whether the leaf lies in an element that is absent as a whole,
// which has a line of its own.
func within(leaf string, from map[string]string) bool {
	for i := range len(leaf) - 1 {
		if leaf[i] == ']' {
			if _, ok := from[leaf[:i+1]]; !ok {
				return true
			}
		}
	}
	return false
}

// flatten writes each leaf as path=value, with what may differ made equal.
func flatten(v reflect.Value, path string, into map[string]string) {
	if n, ok := normal(path, v); ok {
		into[path] = n
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			flatten(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), into)
		}
	case reflect.Slice:
		flattenSlice(v, path, into)
	case reflect.Pointer:
		if v.IsNil() {
			into[path] = "null"
		} else {
			flatten(v.Elem(), path, into)
		}
	default:
		into[path] = fmt.Sprint(v.Interface())
	}
}

// flattenSlice names elements by what identifies them, such as the name of a
// topic, and sorts the rest by their own text: Kafka answers many arrays in the
// order of a hash map.
func flattenSlice(v reflect.Value, path string, into map[string]string) {
	if v.IsNil() {
		into[path] = "null"
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		into[path+"#"] = fmt.Sprint(v.Len())
		into[path] = fmt.Sprintf("%x", v.Bytes())
		return
	}
	into[path] = "array"
	type element struct {
		text   string
		leaves map[string]string
	}
	var all []element
	for i := range v.Len() {
		m := map[string]string{}
		flatten(v.Index(i), "", m)
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		var b strings.Builder
		for _, k := range keys {
			fmt.Fprintf(&b, "%s=%s;", k, m[k])
		}
		all = append(all, element{b.String(), m})
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].text < all[j].text })
	for i, e := range all {
		at := fmt.Sprintf("%s[%s]", path, identity(e.leaves, i))
		for n := 2; into[at] != ""; n++ {
			at = fmt.Sprintf("%s[%s again %d]", path, identity(e.leaves, i), n)
		}
		into[at] = "present"
		for k, x := range e.leaves {
			// In which partition share state lies depends on a topic's id.
			if e.leaves["Name"] == "__share_group_state" && strings.HasSuffix(k, ".PartitionSize") {
				x = "any"
			}
			if k == "" {
				into[at] = x
			} else {
				into[at+"."+k] = x
			}
		}
	}
}

// identity is what an element of an array is called: its name or number where
// it has one that is text (a broker may repair others), else its place.
func identity(leaves map[string]string, place int) string {
	for _, k := range []string{"Name", "Topic", "TopicName", "GroupID", "APIKey", "PartitionIndex", "Partition", "Index", "SubtopologyID", "ProcessID", "Host"} {
		if id := leaves[k]; id != "" && id != "null" && utf8.ValidString(id) && !strings.ContainsRune(id, utf8.RuneError) {
			return id
		}
	}
	return fmt.Sprint("at ", place)
}

// normal says what to compare of a field whose value is an id, a time, an
// address or prose: only whether it is set.
func normal(path string, v reflect.Value) (string, bool) {
	name := path[strings.LastIndexByte(path, '.')+1:]
	switch name {
	case "ThrottleTimeMs", "StatusDetail", "Host", "Port", "Rack", "LogDir", "TotalBytes", "UsableBytes", "ClientHost", "Documentation":
		return "any", true
	case "ErrorMessage", "AcknowledgeErrorMessage", "BatchIndexErrorMessage":
		if v.Kind() == reflect.Pointer {
			return fmt.Sprintf("set=%t", !v.IsNil()), true
		}
		return "any", true
	case "ClusterID", "MemberID", "Leader", "ReplicaDirectoryID", "VoterDirectoryID":
		return fmt.Sprintf("set=%t", !v.IsZero()), true
	case "AuthBytes": // made of chance
		return fmt.Sprintf("set=%t", v.Len() > 0), true
	case "LogAppendTimeMs", "ProducerID", "SessionID", "LastCaughtUpTimestamp", "LastFetchTimestamp", "LastTimestamp", "FinalizedFeaturesEpoch",
		"TransactionStartTimeMs":
		if v.CanInt() {
			return fmt.Sprintf("positive=%t", v.Int() > 0), true
		}
	}
	if v.Type() == reflect.TypeFor[kafka.UUID]() {
		return fmt.Sprintf("set=%t", !v.IsZero()), true
	}
	return "", false
}
