package myelin_test

import (
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The budgets, and what to do when one is spent. They bind the tail: the median
// function is short in every code base, and one type that owns everything is
// what stops a team.
const (
	maxFileLines  = 600
	maxFuncLines  = 70
	maxParameters = 5
	maxMethods    = 40
	maxImports    = 12 // of our own packages
)

// wideImports are the packages whose job is to know many others.
var wideImports = []string{"api", "broker", "cli", "cmd/"}

const ratchetFile = "testdata/house/ratchet.txt"

// spent is one budget overdrawn: what, where, by how much.
type spent struct {
	key    string // "kind subject", as in the ratchet
	amount int
	limit  int
	where  string
	advice string
}

// TestBudgets holds every file, function, type and package to its budget.
//
// What is over it may stand in the ratchet with its present amount: it may
// shrink, and then its line must be lowered or taken out, but never grow.
func TestBudgets(t *testing.T) {
	ratchet := readRatchet(t)
	seen := map[string]bool{}
	for _, s := range overdrawn(houseOf(t)) {
		seen[s.key] = true
		allowed, ok := ratchet[s.key]
		switch {
		case !ok:
			t.Errorf("%s: %s is %d, the budget is %d: %s", s.where, s.key, s.amount, s.limit, s.advice)
		case s.amount > allowed:
			t.Errorf("%s: %s grew to %d from %d: %s", s.where, s.key, s.amount, allowed, s.advice)
		case s.amount < allowed:
			t.Errorf("%s: %s shrank to %d: lower its line in %s from %d", s.where, s.key, s.amount, ratchetFile, allowed)
		}
	}
	for key := range ratchet {
		if !seen[key] {
			t.Errorf("%s: %s keeps its budget now: take its line out", ratchetFile, key)
		}
	}
}

// readRatchet reads lines of "kind subject amount"; # starts a comment.
func readRatchet(t *testing.T) map[string]int {
	t.Helper()
	data, err := os.ReadFile(ratchetFile)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, line := range strings.Split(stripComments(string(data)), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil || len(words) < 3 {
			t.Fatalf("%s: %q is not \"kind subject amount\"", ratchetFile, line)
		}
		out[strings.Join(words[:len(words)-1], " ")] = n
	}
	return out
}

func overdrawn(h *house) []spent {
	var out []spent
	add := func(s spent) {
		if s.amount > s.limit {
			out = append(out, s)
		}
	}
	for _, p := range h.packages {
		methods, own := map[string]int{}, map[string]bool{}
		for _, f := range p.files {
			if f.generated {
				continue
			}
			add(spent{"file " + f.path, f.lines, maxFileLines, f.path, "split it by subject"})
			for _, fn := range functions(f) {
				add(fn.length(p, f))
				add(fn.parameters(p, f))
				if fn.receiver != "" && !f.test {
					methods[fn.receiver]++
				}
			}
			for _, imp := range f.imports() {
				if !f.test && strings.HasPrefix(imp.path, housePath+"/") {
					own[imp.path] = true
				}
			}
		}
		for typ, n := range methods {
			add(spent{"methods " + p.name + "." + typ, n, maxMethods, p.dir,
				"give a part of the state a type of its own, with its methods"})
		}
		if !p.under(wideImports...) {
			add(spent{"imports " + p.name, len(own), maxImports, p.dir,
				"let it declare the interfaces it needs, or split the package"})
		}
	}
	slices.SortFunc(out, func(a, b spent) int { return strings.Compare(a.key, b.key) })
	return out
}

// function is a declared function or method.
type function struct {
	name, receiver string
	decl           *ast.FuncDecl
}

func functions(f *houseFile) []function {
	var out []function
	for _, d := range f.syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		g := function{name: fn.Name.Name, decl: fn}
		if fn.Recv != nil && len(fn.Recv.List) == 1 {
			g.receiver = typeName(fn.Recv.List[0].Type)
			g.name = g.receiver + "." + g.name
		}
		out = append(out, g)
	}
	return out
}

// typeName strips pointers and type parameters from a receiver.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// length counts from "func" to the closing brace. In a test, the rows of its
// tables do not count: they are data.
func (fn function) length(p *housePackage, f *houseFile) spent {
	line := func(n ast.Node, end bool) int {
		if end {
			return f.fset.Position(n.End()).Line
		}
		return f.fset.Position(n.Pos()).Line
	}
	n := line(fn.decl, true) - line(fn.decl, false) + 1
	if f.test {
		ast.Inspect(fn.decl, func(node ast.Node) bool {
			lit, ok := node.(*ast.CompositeLit)
			if ok {
				n -= line(lit, true) - line(lit, false)
			}
			return !ok
		})
	}
	return spent{fmt.Sprintf("func %s.%s", p.name, fn.name), n, maxFuncLines, f.at(fn.decl.Pos()),
		"name its steps and make each a function"}
}

func (fn function) parameters(p *housePackage, f *houseFile) spent {
	return spent{fmt.Sprintf("parameters %s.%s", p.name, fn.name), fn.decl.Type.Params.NumFields(), maxParameters,
		f.at(fn.decl.Pos()), "take a struct that names them"}
}
