package myelin_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/script"
)

const (
	mapPage  = "ARCHITECTURE.md"
	mapBegin = "<!-- map: begin. Written by `make map` from the package docs; do not edit. -->\n"
	mapEnd   = "<!-- map: end -->\n"
)

// TestFolderMap keeps the map in ARCHITECTURE.md equal to what the packages say
// of themselves; "make map" writes it.
func TestFolderMap(t *testing.T) {
	data, err := os.ReadFile(mapPage)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), mapBegin)
	_, tail, ok2 := strings.Cut(rest, mapEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks of the map are gone: put %q and %q back", mapPage, mapBegin, mapEnd)
	}
	want := head + mapBegin + folderMap(houseOf(t)) + mapEnd + tail
	if want == string(data) {
		return
	}
	if !script.Update() {
		t.Fatalf("%s: the folder map is not that of the package docs: run make map", mapPage)
	}
	if err := os.WriteFile(mapPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// folderMap lists every package that ships with the first sentence of its doc.
func folderMap(h *house) string {
	var b strings.Builder
	b.WriteString("\n| Folder | Its one job |\n|---|---|\n")
	for _, p := range h.packages {
		for _, f := range p.files {
			if f.test || f.syntax.Doc == nil {
				continue
			}
			text := new(doc.Package).Synopsis(f.syntax.Doc.Text())
			for range 2 { // "Package", and its name
				_, text, _ = strings.Cut(text, " ")
			}
			dir := p.dir
			if dir == "." {
				dir = "(root)"
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", dir, strings.ReplaceAll(text, "|", `\|`))
			break
		}
	}
	b.WriteString("\n")
	return b.String()
}

// TestDependencies wants a reason for every module of another author that this
// code names, and no reason for one that is gone.
func TestDependencies(t *testing.T) {
	const page = "docs/dependencies.md"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	required := requiredModules(t)
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]+\\|[^|]{20,}\\|").FindAllStringSubmatch(string(data), -1) {
		listed = append(listed, m[1])
		if _, ok := required[m[1]]; !ok {
			t.Errorf("%s: %s is not in go.mod: take its line out", page, m[1])
		}
	}
	for m, where := range usedModules(t, required) {
		if !slices.Contains(listed, m) {
			t.Errorf("%s: no line for %s (%s): say in a sentence why this one, or do without it", page, m, where)
		}
	}
}

// requiredModules reads the paths of go.mod.
func requiredModules(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+|pgregory\.net/\S+) v\S+`).FindAllStringSubmatch(string(data), -1) {
		out[m[1]] = true
	}
	return out
}

// usedModules finds the modules that files here import, each with one file.
func usedModules(t *testing.T, required map[string]bool) map[string]string {
	used := map[string]string{}
	for _, p := range houseOf(t).packages {
		for _, f := range p.files {
			for _, imp := range f.imports() {
				best := ""
				for m := range required {
					if (imp.path == m || strings.HasPrefix(imp.path, m+"/")) && len(m) > len(best) {
						best = m
					}
				}
				if best != "" && used[best] == "" {
					used[best] = f.path
				}
			}
		}
	}
	return used
}

// TestChangelog holds each fragment to the form that changelog/README.md tells.
func TestChangelog(t *testing.T) {
	form := regexp.MustCompile(`\A(New|Change|Fix|Security): [^\n]{10,100}[^.\n]\n(\n[^\n].*)?`)
	files, err := filepath.Glob("changelog/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !form.Match(data) {
			t.Errorf("%s: begin with one line \"New|Change|Fix|Security: what a user sees\", no full stop, then perhaps a paragraph", name)
		}
	}
}

// TestFormatPages: a page that the list does not name is a page nobody finds.
// Each draws its layout and says what it is checked by, and every name of a file
// that the code knows stands in one of them.
func TestFormatPages(t *testing.T) {
	list, err := os.ReadFile("docs/format/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/format/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		if name != "README.md" && !strings.Contains(string(list), "]("+name+")") {
			t.Errorf("docs/format/README.md: no line for %s: add one to its table", name)
		}
	}
	checkFormats(t, pages)
}

// diskPackages write files that outlive them.
var diskPackages = []string{"segment", "commitlog", "compact", "quorum", "metadata", "replica", "broker"}

func checkFormats(t *testing.T, pages []string) {
	t.Helper()
	var all strings.Builder
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
		if filepath.Base(page) == "README.md" {
			continue
		}
		for _, part := range []struct{ text, what string }{
			{"\n```\n", "a drawn layout between lines of ```"},
			{"\n**Checked by**", "a line \"**Checked by**: ...\" that says what finds a byte that is wrong"},
		} {
			if !strings.Contains(string(data), part.text) {
				t.Errorf("%s: it lacks %s", page, part.what)
			}
		}
	}
	for at, name := range fileNames(t) {
		if !strings.Contains(all.String(), name) {
			t.Errorf("%s: no page of docs/format tells of %q: draw its bytes, and list the page in docs/format/README.md", at, name)
		}
	}
}

// fileNames finds the constants called ...File or ...Suffix of the packages that
// write to the disk, by their place.
func fileNames(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range houseOf(t).packages {
		if !slices.Contains(diskPackages, p.name) {
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				for i := 0; ok && i < min(len(spec.Names), len(spec.Values)); i++ {
					name := spec.Names[i].Name
					lit, isLit := spec.Values[i].(*ast.BasicLit)
					if isLit && lit.Kind == token.STRING && (strings.HasSuffix(name, "File") || strings.HasSuffix(name, "Suffix")) {
						if text, err := strconv.Unquote(lit.Value); err == nil {
							out[f.at(lit.Pos())] = text
						}
					}
				}
				return true
			})
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d names of files were found: %v", len(out), out)
	}
	return out
}

// TestLinks follows every relative link of every page.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".md") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: link to %s leads nowhere: mend it or take it out", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
