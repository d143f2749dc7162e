package myelin_test

import (
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/config"
)

// TestConfigServed wants, for every property that is said to have an effect, a
// test that shows it: "package.TestName", with the package as layers names it or
// by the last part of that. What has no effect needs a reason instead.
func TestConfigServed(t *testing.T) {
	tests := map[string]bool{}
	for _, p := range houseOf(t).packages {
		for _, f := range p.files {
			for _, fn := range functions(f) {
				if f.test && strings.HasPrefix(fn.name, "Test") {
					tests[p.name+"."+fn.name] = true
					tests[p.name[strings.LastIndex(p.name, "/")+1:]+"."+fn.name] = true
				}
			}
		}
	}
	for _, scope := range []config.Scope{config.Topic, config.BrokerScope, config.Group, config.ClientMetrics} {
		for _, d := range config.All(scope) {
			switch {
			case d.Status != config.Served && d.Reason == "":
				t.Errorf("config: %s %s is %s without a reason: say why it has no effect here", scope, d.Name, d.Status)
			case d.Status != config.Served:
			case d.Test == "":
				t.Errorf("config: %s %s is served, but names no test: write one that shows its effect and name it", scope, d.Name)
			case !tests[d.Test]:
				t.Errorf("config: %s %s names %s, which does not exist: write that test, or say noted and why", scope, d.Name, d.Test)
			}
		}
	}
}
