package myelin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// checked is one package of this build with the types of its expressions. The
// types of what it imports come from the build cache, so that checking the whole
// house takes no longer than parsing it.
type checked struct {
	*housePackage
	files []*houseFile // those of this operating system, without tests
	info  *types.Info
}

var (
	loadList     = sync.OnceValues(goList)
	loadImporter = sync.OnceValues(newImporter)
	loadChecked  = sync.OnceValues(checkHouse)
)

// checkedOf gives every package that builds here with its types, or ends the
// test. A package that does not compile is checked as far as it goes: the
// compiler has the better message.
func checkedOf(t *testing.T) []*checked {
	t.Helper()
	houseOf(t)
	all, err := loadChecked()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// listed is what "go list" tells about a package.
type listed struct {
	ImportPath, Export string
	GoFiles            []string
	Module             *struct{ Main bool }
}

// newImporter reads the types of imported packages from the build cache.
func newImporter() (types.Importer, error) {
	list, err := loadList()
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for _, l := range list {
		exports[l.ImportPath] = l.Export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("%s does not compile", path)
		}
		return os.Open(exports[path])
	}), nil
}

func checkHouse() ([]*checked, error) {
	h := loadHouse()
	list, err := loadList()
	if err != nil {
		return nil, err
	}
	imp, err := loadImporter()
	if err != nil {
		return nil, err
	}
	byDir := map[string]*housePackage{}
	for _, p := range h.packages {
		byDir[p.dir] = p
	}
	var out []*checked
	for _, l := range list {
		if l.Module == nil || !l.Module.Main {
			continue
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, housePath), "/")
		if dir == "" {
			dir = "."
		}
		if p := byDir[dir]; p != nil {
			out = append(out, checkPackage(h, p, l.GoFiles, imp))
		}
	}
	return out, nil
}

func checkPackage(h *house, p *housePackage, goFiles []string, imp types.Importer) *checked {
	c := &checked{housePackage: p, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Defs:  map[*ast.Ident]types.Object{},
		Uses:  map[*ast.Ident]types.Object{},
	}}
	var syntax []*ast.File
	for _, name := range goFiles {
		for _, f := range p.files {
			if f.path == name || strings.HasSuffix(f.path, "/"+name) {
				c.files = append(c.files, f)
				syntax = append(syntax, f.syntax)
			}
		}
	}
	conf := types.Config{Importer: imp, Error: func(error) {}, FakeImportC: true}
	conf.Check(p.dir, h.fset, syntax, c.info) // what is wrong, the compiler reports
	return c
}

// goList asks the go command for all packages and where their export data lies.
func goList() ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-export", "-json=ImportPath,Export,GoFiles,Module", "./...")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && stdout.Len() == 0 {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	var out []listed
	for dec := json.NewDecoder(&stdout); ; {
		var l listed
		switch err := dec.Decode(&l); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		out = append(out, l)
	}
}
