package myelin_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// housePath is the module's path.
const housePath = "github.com/myelin-stream/myelin"

// house is the parsed source tree, read once for all house tests.
type house struct {
	fset     *token.FileSet
	packages []*housePackage // by folder
	err      error
}

// housePackage is one folder of Go files.
type housePackage struct {
	dir   string // with slashes, relative to the root; "." for the root itself
	name  string // as in layers: the folder without "internal/"
	files []*houseFile
}

// houseFile is one parsed Go file, whatever its build constraints.
type houseFile struct {
	path      string // with slashes, relative to the root
	syntax    *ast.File
	fset      *token.FileSet
	lines     int
	test      bool // a _test.go file
	generated bool // outside the budgets: nobody edits it
}

// reporter is the part of a test that the rules use, so that they can be tried
// on code that breaks them.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

type importSpec struct {
	path, name string
	pos        token.Pos
}

var loadHouse = sync.OnceValue(func() *house { return readHouse(".") })

// houseOf gives the parsed tree, or ends the test when it does not parse.
func houseOf(t *testing.T) *house {
	t.Helper()
	h := loadHouse()
	if h.err != nil {
		t.Fatal(h.err)
	}
	return h
}

func readHouse(root string) *house {
	h := &house{fset: token.NewFileSet()}
	byDir := map[string]*housePackage{}
	h.err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "web") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
			return nil
		}
		f, err := h.readFile(path)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if byDir[dir] == nil {
			byDir[dir] = &housePackage{dir: dir, name: houseName(dir)}
			h.packages = append(h.packages, byDir[dir])
		}
		byDir[dir].files = append(byDir[dir].files, f)
		return nil
	})
	slices.SortFunc(h.packages, func(a, b *housePackage) int { return strings.Compare(a.dir, b.dir) })
	return h
}

func (h *house) readFile(path string) (*houseFile, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(h.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &houseFile{
		path:      filepath.ToSlash(path),
		syntax:    syntax,
		fset:      h.fset,
		lines:     bytes.Count(src, []byte("\n")),
		test:      strings.HasSuffix(path, "_test.go"),
		generated: ast.IsGenerated(syntax),
	}, nil
}

// houseName turns a folder or an import path below the module into a name of
// the plan.
func houseName(dir string) string {
	if dir == "." || dir == "" {
		return "myelin"
	}
	return strings.TrimPrefix(dir, "internal/")
}

// ships tells whether the folder holds anything besides tests.
func (p *housePackage) ships() bool {
	return slices.ContainsFunc(p.files, func(f *houseFile) bool { return !f.test })
}

// under tells whether the package is one of the given names, or below one that
// ends with a slash.
func (p *housePackage) under(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return p.name == n || strings.HasSuffix(n, "/") && strings.HasPrefix(p.name, n)
	})
}

func (f *houseFile) imports() []importSpec {
	var out []importSpec
	for _, s := range f.syntax.Imports {
		spec := importSpec{path: strings.Trim(s.Path.Value, `"`), pos: s.Pos()}
		if s.Name != nil {
			spec.name = s.Name.Name
		} else {
			spec.name = spec.path[strings.LastIndex(spec.path, "/")+1:]
			if spec.name == "v2" {
				spec.name = "rand" // math/rand/v2 is the only one of the standard library
			}
		}
		out = append(out, spec)
	}
	return out
}

// localName gives the name under which the file imports a package, or "".
func (f *houseFile) localName(path string) string {
	for _, imp := range f.imports() {
		if imp.path == path {
			return imp.name
		}
	}
	return ""
}

// at says where a position is, as an editor likes it.
func (f *houseFile) at(pos token.Pos) string {
	p := f.fset.Position(pos)
	p.Filename = f.path
	p.Column = 0
	return p.String()
}

// excused tells whether the line of pos, or the one before, carries
// "//house:WORD reason" with a reason.
func (f *houseFile) excused(pos token.Pos, word string) bool {
	line := f.fset.Position(pos).Line
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			reason, ok := strings.CutPrefix(c.Text, "//house:"+word+" ")
			at := f.fset.Position(c.Pos()).Line
			if ok && strings.TrimSpace(reason) != "" && (at == line || at == line-1) {
				return true
			}
		}
	}
	return false
}
