package myelintest_test

import (
	"testing"

	"github.com/myelin-stream/myelin/myelintest"
)

func TestOneNodeWithFaults(t *testing.T) {
	c := myelintest.Start(t, myelintest.Nodes(1))
	roundTrip(t, c.Addr())
	c.Kill(1)
	c.Restart(1)
	again(t, c.Addr(), 1)
	c.Stop(1)
	c.Restart(1)
	c.Pause(1)
	c.Resume(1)
	again(t, c.Addr(), 1)
}
