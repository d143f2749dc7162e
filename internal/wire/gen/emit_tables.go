package main

import "fmt"

// keyConstants is the file of API keys in package kafka.
func keyConstants(files []*file) string {
	var p printer
	p.f("package kafka\n")
	p.f("// The API keys of Kafka 4.4, and from 20000 up those that are Myelin's own.\nconst (")
	for _, f := range files {
		if f.key >= 0 {
			p.f("Key%s int16 = %d", goName(f.api), f.key)
		}
	}
	p.f(")\n")
	p.f("// KeyName is the name of an API as Kafka writes it, such as \"Produce\", or empty.")
	p.f("func KeyName(key int16) string {\nswitch key {")
	for _, f := range files {
		if f.key >= 0 {
			p.f("case Key%s:\nreturn %q", goName(f.api), f.api)
		}
	}
	p.f("}\nreturn \"\"\n}")
	return p.String()
}

// tables is the file of tables in package msg.
func tables(files []*file) string {
	var p printer
	p.f("package msg\n")
	p.f("// APIs are all that there are, by ascending key.\nvar APIs = []API{")
	for _, f := range files {
		if f.key < 0 {
			continue
		}
		rq := f.messages[0]
		flexible := -1
		if !rq.flexible.empty() {
			flexible = rq.flexible.lo
		}
		p.f("{Key: %d, Name: %q, Min: %d, Max: %d, Flexible: %d, Broker: %t, Controller: %t, Unstable: %t},", f.key, f.api,
			rq.valid.lo, rq.valid.hi, flexible, contains(f.listeners, "broker"), contains(f.listeners, "controller"), rq.unstable)
	}
	p.f("}\n")
	for _, kind := range []string{"request", "response"} {
		what := goName(kind)
		p.f("// New%s returns the empty %s of an API, with its defaults; false if there is no such key.", what, kind)
		p.f("func New%s(key int16) (%s, bool) {\nvar m %s\nswitch key {", what, what, what)
		for _, f := range files {
			if f.key >= 0 {
				p.f("case %d:\nm = new(%s%s)", f.key, goName(f.api), what)
			}
		}
		p.f("default:\nreturn nil, false\n}\nm.SetDefaults()\nreturn m, true\n}\n")
	}
	return p.String()
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// stateTables is the file of tables in package state.
func stateTables(files []*file) string {
	var p printer
	p.f("package state\n")
	p.f("// Types are all stored records, by file and type.\nvar Types = []Type{")
	for _, f := range files {
		for _, m := range f.messages {
			family := "None"
			if f.family != "" {
				family = goName(f.family)
			}
			p.f("{Family: %s, Kind: Is%s, Type: %d, Name: %q, Min: %d, Max: %d},", family, goName(m.kind), m.key, m.name, m.valid.lo, m.valid.hi)
		}
	}
	p.f("}\n")
	for _, kind := range []string{"key", "value", "record"} {
		what := goName(kind)
		p.f("// New%s returns the empty %s of a type, with its defaults; false if there is none.", what, kind)
		p.f("func New%s(family Family, typ int16) (%s, bool) {\nvar m %s\nswitch (Type{Family: family, Type: typ}) {", what, what, what)
		for _, f := range files {
			for _, m := range f.messages {
				if m.kind == kind {
					p.f("case Type{Family: %s, Type: %d}:\nm = new(%s)", goName(f.family), m.key, m.root.goName)
				}
			}
		}
		p.f("default:\nreturn nil, false\n}\nm.SetDefaults()\nreturn m, true\n}\n")
	}
	p.f("// NewOf returns the empty message of a row of [Types], with its defaults.")
	p.f("func NewOf(t Type) (Message, bool) {\nvar m Message\nswitch t.Name {")
	for _, f := range files {
		for _, m := range f.messages {
			p.f("case %q:\nm = new(%s)", m.name, m.root.goName)
		}
	}
	p.f("default:\nreturn nil, false\n}\nm.SetDefaults()\nreturn m, true\n}")
	return fmt.Sprint(p.String())
}
