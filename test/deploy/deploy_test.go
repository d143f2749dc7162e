// Package deploy renders what starts Myelin elsewhere, a Helm chart and a unit of
// systemd, and asks those who would read it whether it is right: Helm's own
// engine and lint, the types of the Kubernetes API, systemd-analyze, and the
// myelin binary, for each node's arguments and settings.
//
// It is a module of its own, so that Helm is no dependency of Myelin. `make
// deploy` runs it. No cluster of Kubernetes is started: that pods really come up
// is not shown here.
package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// binary is a myelin made from this tree, or the one that DEPLOY_BINARY names.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if binary = os.Getenv("DEPLOY_BINARY"); binary != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "myelin-deploy-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "myelin")
		build := exec.Command("go", "build", "-o", binary, "./cmd/myelin")
		build.Dir, build.Stderr = root, os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// myelin runs the binary with nothing of this process's environment and returns
// its standard output.
func myelin(t *testing.T, env []string, args ...string) string {
	t.Helper()
	c := exec.Command(binary, args...)
	var out, errs bytes.Buffer
	c.Env, c.Stdout, c.Stderr = append([]string{"PATH=/nowhere"}, env...), &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s myelin %s: %v\n%s%s", strings.Join(env, " "), strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// lint lets the binary judge settings and returns its remarks.
func lint(t *testing.T, env []string, files ...string) string {
	t.Helper()
	out := myelin(t, env, append([]string{"config", "lint"}, files...)...)
	// A remark of a binary that has no quorum of several nodes yet is none.
	return regexp.MustCompile(`(?m)^.*controller\.quorum\.\S+ has no effect: not served yet: clusters of several nodes\n`).ReplaceAllString(out, "")
}
