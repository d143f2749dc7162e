package config

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the reference page")

// TestPageIsFresh keeps docs/config.md equal to the table. With -update it
// writes the page, which is what `make gen` does.
func TestPageIsFresh(t *testing.T) {
	const page = "../../docs/config.md"
	if *update {
		if err := os.MkdirAll("../../docs", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(Page()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != Page() {
		t.Errorf("docs/config.md is stale (%v): run make gen", err)
	}
}
