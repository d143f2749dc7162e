package cli

import (
	crand "crypto/rand"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/sasl"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// scramRecords makes the records of the users that a cluster begins with.
func scramRecords(args []string) ([]state.Record, error) {
	var records []state.Record
	for _, arg := range args {
		r, err := scramRecord(arg)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// scramRecord reads a user in the syntax of Kafka's storage tool (KIP-900):
//
//	SCRAM-SHA-256=[name=alice,password=secret]
//	SCRAM-SHA-512=[name=alice,iterations=8192,salt="base64",saltedpassword="base64"]
//
// What is wrong is said without the text, which holds a password.
func scramRecord(arg string) (state.Record, error) {
	name, rest, ok := strings.Cut(strings.TrimSpace(arg), "=")
	mechanism, known := sasl.ScramOf(name)
	if !ok || !known {
		return nil, usage("--add-scram wants SCRAM-SHA-256=[...] or SCRAM-SHA-512=[...]")
	}
	inner, opened := strings.CutPrefix(rest, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !opened || !closed {
		return nil, usage("--add-scram %s: want the user's properties in brackets: %s=[name=alice,password=secret]", name, name)
	}
	set := map[string]string{}
	for part := range strings.SplitSeq(inner, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, usage("--add-scram %s: each property is NAME=VALUE, with commas between", name)
		}
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		set[strings.TrimSpace(k)] = v
	}
	u := scramUser{mechanism: mechanism, set: set}
	c, err := u.credential()
	if err != nil {
		return nil, err
	}
	user := set["name"]
	for _, k := range []string{"name", "password", "salt", "saltedpassword", "iterations"} {
		delete(set, k)
	}
	switch {
	case user == "":
		return nil, usage("--add-scram %s: name is missing", name)
	case len(set) > 0:
		return nil, usage("--add-scram %s: unknown property %s", name, slices.Sorted(maps.Keys(set))[0])
	}
	return controller.ScramRecord(user, mechanism, c), nil
}

// scramUser is one argument of --add-scram.
type scramUser struct {
	mechanism sasl.Scram
	set       map[string]string
}

func (u *scramUser) credential() (c sasl.Credential, err error) {
	iterations := sasl.MinIterations
	if text, ok := u.set["iterations"]; ok {
		if iterations, err = strconv.Atoi(text); err != nil || iterations < sasl.MinIterations || iterations > sasl.MaxIterations {
			return c, usage("--add-scram %s: iterations has to be between %d and %d", u.mechanism, sasl.MinIterations, sasl.MaxIterations)
		}
	}
	salt, given, err := u.bytes("salt")
	if err != nil {
		return c, err
	}
	if !given {
		salt = []byte(crand.Text()) // 130 bits, as Kafka draws them
	}
	salted, hashed, err := u.bytes("saltedpassword")
	password, plain := u.set["password"]
	switch {
	case err != nil:
		return c, err
	case hashed == plain:
		return c, usage("--add-scram %s: one of password and saltedpassword has to be given", u.mechanism)
	case hashed && !given:
		return c, usage("--add-scram %s: saltedpassword wants its salt", u.mechanism)
	case hashed && len(salted) == 0 || plain && password == "":
		return c, usage("--add-scram %s: an empty password", u.mechanism)
	case plain:
		if salted, err = u.mechanism.Salted(password, salt, iterations); err != nil {
			return c, err
		}
	}
	return u.mechanism.Credential(salted, salt, int32(iterations)), nil
}

// bytes reads a property in base64.
func (u *scramUser) bytes(name string) (b []byte, given bool, err error) {
	text, given := u.set[name]
	if b, err = base64.StdEncoding.DecodeString(text); err != nil {
		return nil, given, usage("--add-scram %s: %s is not base64", u.mechanism, name)
	}
	return b, given, nil
}
