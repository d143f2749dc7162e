package metadata

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
)

// Nodes come where nobody is asked who they are, unless a listener is named.
func TestMeeting(t *testing.T) {
	guarded, open := cluster.Endpoint{Listener: "IN", Host: "guarded", Protocol: 2}, cluster.Endpoint{Listener: "OUT", Host: "open"}
	controller := cluster.Endpoint{Listener: "CONTROLLER", Host: "controller"}
	for _, c := range []struct {
		set        string
		endpoints  []cluster.Endpoint
		controller bool
		want       string
	}{
		{"", []cluster.Endpoint{controller, guarded, open}, false, "open"},
		{"", []cluster.Endpoint{open, guarded}, false, "open"},
		{"", []cluster.Endpoint{guarded}, false, "guarded"},
		{"IN", []cluster.Endpoint{open, guarded}, false, "guarded"},
		{"", []cluster.Endpoint{guarded, controller}, true, "controller"},
		{"", []cluster.Endpoint{controller}, false, ""},
	} {
		props := config.NewBroker(config.Settings{"inter.broker.listener.name": {Value: c.set}})
		if c.set == "" {
			props = config.NewBroker(nil)
		}
		if got, _ := meeting(props, c.endpoints, c.controller); got.host != c.want {
			t.Errorf("%q of %v: %q, want %q", c.set, c.endpoints, got.host, c.want)
		}
	}
}
