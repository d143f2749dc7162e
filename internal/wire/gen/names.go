package main

import (
	"strings"
	"unicode"
)

// initialisms are the words of Kafka's names that Go writes in capitals.
var initialisms = map[string]string{
	"Id": "ID", "Ids": "IDs", "Acl": "ACL", "Acls": "ACLs", "Api": "API",
	"Sasl": "SASL", "Isr": "ISR", "Elr": "ELR",
}

// goName is a name of Kafka's as Go writes it: TopicId becomes TopicID.
func goName(name string) string {
	var out strings.Builder
	for _, w := range words(name) {
		w = strings.ToUpper(w[:1]) + w[1:]
		if up, ok := initialisms[w]; ok {
			w = up
		}
		out.WriteString(w)
	}
	return out.String()
}

// words splits a name before each capital that follows a small letter or a digit.
func words(name string) []string {
	var out []string
	start := 0
	for i := 1; i < len(name); i++ {
		if unicode.IsUpper(rune(name[i])) && !unicode.IsUpper(rune(name[i-1])) {
			out = append(out, name[start:i])
			start = i
		}
	}
	return append(out, name[start:])
}

// singular is what one element of the named array is called.
func singular(name string) string {
	switch {
	case strings.HasSuffix(name, "ies"):
		return strings.TrimSuffix(name, "ies") + "y"
	case strings.HasSuffix(name, "sses"), strings.HasSuffix(name, "ches"), strings.HasSuffix(name, "xes"):
		return strings.TrimSuffix(name, "es")
	case strings.HasSuffix(name, "ss"), strings.HasSuffix(name, "us"):
		return name
	}
	return strings.TrimSuffix(name, "s")
}
