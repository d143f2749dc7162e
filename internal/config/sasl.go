package config

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// SASL says whether clients of the listener have to authenticate by SASL.
func (l Listener) SASL() bool { return strings.HasPrefix(l.Protocol, "SASL_") }

// SASL is what a broker's properties say of authentication on a listener.
type SASL struct {
	b        *Broker
	listener string
}

// SASLOf looks at a listener.
func SASLOf(b *Broker, listener string) SASL { return SASL{b, listener} }

// Mechanisms are those by which clients may authenticate.
func (s SASL) Mechanisms() []string {
	return s.b.ForListener(s.listener, "sasl.enabled.mechanisms").List()
}

// MaxReauth is how long a client that authenticated by a mechanism may go on, 0
// for ever: listener.name.<listener>.<mechanism>.connections.max.reauth.ms, else
// what holds for the listener, else for the broker.
func (s SASL) MaxReauth(mechanism string) time.Duration {
	const name = "connections.max.reauth.ms"
	v, ok := prefixed(s.b, name, listenerPrefix(s.listener)+strings.ToLower(mechanism)+"."+name)
	if !ok {
		v = s.b.ForListener(s.listener, name)
	}
	return millis(max(0, v.Int64()))
}

func listenerPrefix(listener string) string {
	return "listener.name." + strings.ToLower(listener) + "."
}

// prefixed is what was set under a name with a prefix: on this broker at run time
// or, before that, in its file.
func prefixed(b *Broker, name, full string) (Value, bool) {
	e, _ := b.entry(name)
	d := e.value.Def
	try := func(text string, set bool) (Value, bool) {
		if !set {
			return Value{}, false
		}
		v, err := Parse(d, text)
		return v, err == nil
	}
	if d.Dynamic != ReadOnly {
		text, set := b.own[full]
		if v, ok := try(text, set); ok {
			return v, true
		}
	}
	set, ok := b.static[full]
	return try(set.Value, ok)
}

// PlainUsers are the users that authenticate by PLAIN, with their
// passwords: the options user_NAME="password" of
// listener.name.<listener>.plain.sasl.jaas.config.
func (s SASL) PlainUsers() (map[string]string, error) {
	listener := s.listener
	name := listenerPrefix(listener) + "plain.sasl.jaas.config"
	v, ok := prefixed(s.b, "sasl.jaas.config", name)
	if !ok {
		return nil, fmt.Errorf("listener %s enables PLAIN, but %s is not set: give it org.apache.kafka.common.security.plain.PlainLoginModule required user_NAME=\"password\";", listener, name)
	}
	module, options, err := parseJAAS(v.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if module != plainModule {
		return nil, fmt.Errorf("%s names the login module %s: only %s is served", name, module, plainModule)
	}
	users := map[string]string{}
	for key, password := range options {
		if user, ok := strings.CutPrefix(key, "user_"); ok {
			users[user] = password
		}
	}
	return users, nil
}

const plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule"

// check says what keeps the clients of a listener from authenticating.
func (s SASL) check() error {
	names, listener := s.Mechanisms(), s.listener
	if len(names) == 0 {
		return fmt.Errorf("listener %s asks for SASL, but sasl.enabled.mechanisms is empty", listener)
	}
	for _, name := range names {
		switch name {
		case "SCRAM-SHA-256", "SCRAM-SHA-512":
		case "PLAIN":
			if _, err := s.PlainUsers(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("listener %s enables %s, which is not served: set sasl.enabled.mechanisms to some of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", listener, name)
		}
	}
	return nil
}

// parseJAAS reads one login module in the syntax of Java's JAAS files:
//
//	some.Module required name=value other="a \"quoted\" value";
//
// Comments are Java's: // to the end of the line, and /* ... */. What is wrong is
// said without the text, which holds passwords.
func parseJAAS(text string) (module string, options map[string]string, err error) {
	words, err := jaasWords(text)
	if err != nil {
		return "", nil, err
	}
	if len(words) < 3 || words[len(words)-1] != ";" {
		return "", nil, fmt.Errorf("want MODULE required NAME=VALUE ... and a semicolon at the end")
	}
	switch strings.ToUpper(strings.TrimPrefix(words[1], `"`)) {
	case "REQUIRED", "REQUISITE", "SUFFICIENT", "OPTIONAL":
	default:
		return "", nil, fmt.Errorf("the word after the login module has to be required, requisite, sufficient or optional")
	}
	module, options = words[0], map[string]string{}
	rest := words[2 : len(words)-1]
	for i := 0; i < len(rest); i += 3 {
		if i+2 >= len(rest) || rest[i+1] != "=" || rest[i+2] == "=" || rest[i+2] == ";" {
			return "", nil, fmt.Errorf("option %d of the login module is not NAME=VALUE", i/3+1)
		}
		options[strings.TrimPrefix(rest[i], `"`)] = strings.TrimPrefix(rest[i+2], `"`)
	}
	return module, options, nil
}

// jaasWords splits a JAAS text. A quoted word keeps its first quote, so that
// "=" in quotes is not the sign.
func jaasWords(text string) ([]string, error) {
	var words []string
	for i := 0; i < len(text); {
		c := text[i]
		switch rest := text[i:]; {
		case unicode.IsSpace(rune(c)):
			i++
		case strings.HasPrefix(rest, "//"):
			i += skip(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			i += 2 + skip(rest[2:], "*/")
		case c == '=' || c == ';':
			words = append(words, text[i:i+1])
			i++
		case c == '"' || c == '\'':
			word, n, ok := jaasQuoted(rest)
			if !ok {
				return nil, fmt.Errorf("a quote does not end")
			}
			words = append(words, `"`+word)
			i += n
		default:
			n := strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`=;"'`, r) })
			if n < 0 {
				n = len(rest)
			}
			words = append(words, rest[:n])
			i += n
		}
	}
	return words, nil
}

// skip is how far it is behind the end of a comment.
func skip(text, end string) int {
	if i := strings.Index(text, end); i >= 0 {
		return i + len(end)
	}
	return len(text)
}

// jaasQuoted reads a word in quotes, and how many bytes it takes with them.
func jaasQuoted(text string) (word string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == text[0]:
			return b.String(), i + 1, true
		case c == '\n' || c == '\r':
			return "", 0, false
		case c == '\\' && i+1 < len(text):
			i++
			if at := strings.IndexByte("nrtfba", text[i]); at >= 0 {
				b.WriteByte("\n\r\t\f\b\a"[at])
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}
