package myelin_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// recorder keeps what a rule reports, by "file:line" or by folder.
type recorder struct{ found []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

// TestRulesBite tries the rules on code that breaks each of them: every line
// that says "// want" is reported, with each of its texts, and no other is.
func TestRulesBite(t *testing.T) {
	h := readHouse("testdata/house/untidy")
	if h.err != nil || len(h.packages) != 1 {
		t.Fatalf("%d packages, %v", len(h.packages), h.err)
	}
	p := h.packages[0]
	imp, err := loadImporter()
	if err != nil {
		t.Fatal(err)
	}
	c := checkPackage(h, p, []string{"util.go"}, imp)
	r := &recorder{}
	checkDoc(r, p)
	checkName(r, p)
	checkInit(r, p)
	checkVariables(r, c)
	checkMachine(r, p)
	checkSelects(r, p)
	checkMapOrder(r, c)
	checkSleep(r, p)

	for _, f := range p.files {
		clause := f.fset.Position(f.syntax.Name.Pos()).Line
		for _, group := range f.syntax.Comments {
			for _, comment := range group.List {
				text, ok := strings.CutPrefix(comment.Text, "// want ")
				if !ok {
					continue
				}
				places := []string{f.at(comment.Pos()) + ":"}
				if f.fset.Position(comment.Pos()).Line == clause {
					places = []string{p.dir + ":", f.path + ":"} // a rule about the package names no line
				}
				for _, want := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(text, -1) {
					if !r.take(places, want[1]) {
						t.Errorf("%s: not reported: %q", places[0], want[1])
					}
				}
			}
		}
	}
	for _, extra := range r.found {
		t.Errorf("reported without need: %s", extra)
	}
}

// take removes the first report at one of the places that holds a text.
func (r *recorder) take(places []string, text string) bool {
	for i, found := range r.found {
		for _, place := range places {
			if strings.HasPrefix(found, place) && strings.Contains(found, text) {
				r.found = append(r.found[:i], r.found[i+1:]...)
				return true
			}
		}
	}
	return false
}
