package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The exit codes; see the package doc.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNotFound
	exitDenied
	exitUnreachable
	exitPartial
)

// fault is an error that knows its exit code and has one line for the user.
type fault struct {
	code int
	text string // "" when everything was said already
}

func (f *fault) Error() string { return f.text }

func usage(format string, args ...any) error {
	return &fault{exitUsage, fmt.Sprintf(format, args...)}
}

func missing(format string, args ...any) error {
	return &fault{exitNotFound, fmt.Sprintf(format, args...)}
}

// classify turns any error into a fault: what happened and what to do next.
func classify(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && len(shards.Errs) > 0 { // what one broker said, not how many said it
		err = shards.Errs[0].Err
	}
	text := oneLine(err)
	var code *kerr.Error
	if errors.As(err, &code) { // NAME: Description. -> description (NAME)
		text = strings.Replace(text, oneLine(code), strings.TrimSuffix(code.Description, ".")+" ("+code.Message+")", 1)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &fault{exitFailed, "interrupted"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kerr.RequestTimedOut):
		return &fault{exitUnreachable, text + ": no answer in time; try --timeout 30s, or find out more with: myelin ping -v"}
	case isAny(err, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		return &fault{exitNotFound, text + "; list topics with: myelin topic list"}
	case isAny(err, kerr.GroupIDNotFound):
		return &fault{exitNotFound, text + "; list groups with: myelin group list"}
	case isAny(err, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed):
		return &fault{exitDenied, text + "; say who you are with -X sasl.username=... or ask for the right to do this"}
	case errors.Is(err, fs.ErrPermission):
		return &fault{exitDenied, text}
	case errors.Is(err, fs.ErrNotExist):
		return &fault{exitNotFound, text}
	}
	var first *kgo.ErrFirstReadEOF
	if errors.As(err, &first) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &fault{exitUnreachable, "the broker closed the connection at once; if it wants TLS or SASL, add -X security.protocol=..."}
	}
	return &fault{exitFailed, text}
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// unreachable is the fault of an address that could not be dialled.
func unreachable(address string, err error) error {
	why, next := dialReason(err), "is a broker running? start one with: myelin dev"
	var dns *net.DNSError
	if errors.As(err, &dns) {
		next = "check the name, or give addresses with -b HOST:PORT"
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		why, next = "no answer in time", "check the address and the network, or try --timeout 30s"
	}
	return &fault{exitUnreachable, fmt.Sprintf("cannot reach %s: %s; %s", address, why, next)}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// dialReason is the innermost, most telling part of a network error.
func dialReason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "no such host " + dns.Name
	}
	return oneLine(err)
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// partial joins what went wrong with some of several things: the exit code is
// that of the first failure if all failed, and 6 if some went well.
func partial(done int, failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	var lines []string
	for _, err := range failures {
		lines = append(lines, classify(err).text)
	}
	f := &fault{classify(failures[0]).code, strings.Join(lines, "\nmyelin: ")}
	if done > 0 {
		f.code = exitPartial
	}
	return f
}
