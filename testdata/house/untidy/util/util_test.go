package util

import (
	"testing"
	"time"
)

func init() {}

func TestSleepy(t *testing.T) {
	time.Sleep(time.Second) // want "time.Sleep is the machine's: wait for the event"
}
