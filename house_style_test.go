package myelin_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// emptyNames say where code was put and not what it does.
var emptyNames = []string{"util", "utils", "common", "base", "helper", "helpers", "misc", "shared", "core", "manager"}

// TestPackageDocs wants one attached comment per package, whose first sentence
// says its one job. Readers and the map in ARCHITECTURE.md begin with it.
func TestPackageDocs(t *testing.T) {
	for _, p := range houseOf(t).packages {
		checkDoc(t, p)
	}
}

func checkDoc(r reporter, p *housePackage) {
	if !p.ships() {
		return
	}
	var docs []*houseFile
	for _, f := range p.files {
		if f.syntax.Doc != nil && !f.test {
			docs = append(docs, f)
		}
	}
	switch len(docs) {
	case 0:
		r.Errorf("%s: no package doc: write \"// Package %s ...\" above its package clause", p.dir, p.name)
		return
	case 1:
	default:
		r.Errorf("%s: package doc in %s and in %s: join them", p.dir, docs[0].path, docs[1].path)
	}
	name := docs[0].syntax.Name.Name
	want := "Package " + name + " "
	if name == "main" {
		want = "Command " + p.dir[strings.LastIndex(p.dir, "/")+1:] + " "
	}
	if !strings.HasPrefix(docs[0].syntax.Doc.Text(), want) {
		r.Errorf("%s: the package doc must begin with %q and say the package's one job", docs[0].path, want)
	}
}

func TestPackageNames(t *testing.T) {
	for _, p := range houseOf(t).packages {
		checkName(t, p)
	}
}

func checkName(r reporter, p *housePackage) {
	last := p.dir[strings.LastIndex(p.dir, "/")+1:]
	for _, name := range []string{last, p.files[0].syntax.Name.Name} {
		if slices.Contains(emptyNames, name) {
			r.Errorf("%s: %q is not a subject: name it after what it does, or put each part where it is used", p.dir, name)
			return
		}
	}
}

// TestNoInit: what runs before main cannot be ordered, configured or tested.
func TestNoInit(t *testing.T) {
	for _, p := range houseOf(t).packages {
		checkInit(t, p)
	}
}

func checkInit(r reporter, p *housePackage) {
	for _, f := range p.files {
		for _, fn := range functions(f) {
			if fn.name == "init" && !f.test && !f.generated {
				r.Errorf("%s: init: write a table as a literal, or do the work in a constructor", f.at(fn.decl.Pos()))
			}
		}
	}
}

// TestPackageVariables allows a variable of a package only as a constant that
// Go cannot write: an error, a table, a compiled expression, an embedded file.
// It is initialised where it is declared, and nothing writes to it.
func TestPackageVariables(t *testing.T) {
	for _, c := range checkedOf(t) {
		checkVariables(t, c)
	}
}

func checkVariables(r reporter, c *checked) {
	vars := packageVars(c)
	for _, v := range vars {
		if why := unfitVariable(c, v); why != "" {
			r.Errorf("%s: variable %s %s: make it a field of what uses it, or a constant", v.file.at(v.name.Pos()), v.name.Name, why)
		}
	}
	for _, f := range c.files {
		if !f.test {
			reportWrites(r, c, f, vars)
		}
	}
}

type packageVar struct {
	file   *houseFile
	name   *ast.Ident
	value  ast.Expr // nil when there is none
	embeds bool
}

func packageVars(c *checked) map[types.Object]packageVar {
	out := map[types.Object]packageVar{}
	for _, f := range c.files {
		if f.test || f.generated {
			continue
		}
		for _, d := range f.syntax.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				for i, name := range spec.Names {
					if name.Name == "_" {
						continue
					}
					v := packageVar{file: f, name: name, embeds: embedded(decl, spec)}
					if i < len(spec.Values) {
						v.value = spec.Values[i]
					}
					out[c.info.Defs[name]] = v
				}
			}
		}
	}
	return out
}

func embedded(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
			return strings.HasPrefix(c.Text, "//go:embed ")
		}) {
			return true
		}
	}
	return false
}

// unfitVariable says what is wrong with a package variable, or "".
func unfitVariable(c *checked, v packageVar) string {
	if v.embeds {
		return ""
	}
	switch e := v.value.(type) {
	case nil:
		return "has no value"
	case *ast.BasicLit:
		return "holds a constant"
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok && (id.Name == "make" || id.Name == "new") {
			return "starts empty, so something must write it"
		}
	}
	if obj := c.info.Defs[v.name]; obj != nil {
		for _, mutable := range []string{"sync.", "atomic.", "chan ", "rand."} {
			if strings.Contains(types.TypeString(obj.Type(), (*types.Package).Name), mutable) {
				return "is made to change"
			}
		}
	}
	return ""
}

// reportWrites finds assignments to package variables, their fields and their
// elements, and addresses taken of them.
func reportWrites(r reporter, c *checked, f *houseFile, vars map[types.Object]packageVar) {
	r.Helper()
	report := func(e ast.Expr, what string) {
		id := rootIdent(e)
		if id == nil {
			return
		}
		if _, ok := vars[c.info.Uses[id]]; ok {
			r.Errorf("%s: %s package variable %s: keep such state in a value that is handed down", f.at(e.Pos()), what, id.Name)
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				report(e, "assigns to")
			}
		case *ast.IncDecStmt:
			report(n.X, "changes")
		case *ast.UnaryExpr:
			if _, isLit := n.X.(*ast.CompositeLit); n.Op == token.AND && !isLit && !readOnly(c, n.X) {
				report(n.X, "takes the address of")
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
				report(n.Args[0], "deletes from")
			}
		}
		return true
	})
}

// readOnly lets two addresses be taken: of a table's row, which may be large,
// and of an error, which an atomic pointer wants. What is written through the
// first shows as an assignment to a field elsewhere.
func readOnly(c *checked, e ast.Expr) bool {
	if _, ok := e.(*ast.IndexExpr); ok {
		return true
	}
	t := c.info.TypeOf(e)
	return t != nil && t.String() == "error"
}

// rootIdent gives x for x, x.f, x[i], *x and (x).
func rootIdent(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return rootIdent(e.X)
	case *ast.IndexExpr:
		return rootIdent(e.X)
	case *ast.StarExpr:
		return rootIdent(e.X)
	case *ast.ParenExpr:
		return rootIdent(e.X)
	}
	return nil
}
