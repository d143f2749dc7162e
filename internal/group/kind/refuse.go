package kind

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// refusal is a Kafka code with a message for the client.
type refusal struct {
	code kafka.Code
	text string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.code }

// Refuse is an error with a Kafka code and a message for the client, for
// responses that have an ErrorMessage.
func Refuse(code kafka.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// Text is the message for the client in err, or what the code is called.
func Text(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.text
	}
	return kafka.CodeOf(err).Name()
}
