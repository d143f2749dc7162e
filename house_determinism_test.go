package myelin_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// A whole broker runs under the simulator from one seed (decision D9), so below
// broker nothing may ask the machine for the time, for a file, for the network
// or for chance: they come in as values. The tables say who may, and why.

// outside are the programs and floors that meet the machine for the others.
// wire/gen and test/ are tools of developers.
var outside = []string{"broker", "cli", "cmd/", "test/", "wire/gen"}

// machine lists, per import, who may use all of it besides outside, and who may
// use only the named parts, with the reason.
var machine = map[string]struct {
	whole []string            // packages
	parts map[string][]string // package -> names it may use; "*" for every package
	use   string              // what to do instead
}{
	"os": {
		whole: []string{"vfs"},
		parts: map[string][]string{"memnet": {"ErrDeadlineExceeded"}},
		use:   "take a vfs.FS",
	},
	"os/exec":   {use: "leave processes to broker and cli"},
	"os/signal": {use: "take a context and let cli cancel it"},
	"syscall": {
		whole: []string{"vfs", "memnet"},
		parts: map[string][]string{"*": {"Errno", "RawConn", "ECONNRESET", "EPIPE", "ENOSPC", "EMFILE", "ENFILE", "EAGAIN", "EINTR"}},
		use:   "take a vfs.FS or a net.Conn",
	},
	"golang.org/x/sys/unix": {
		whole: []string{"vfs", "listen"}, // listen sends file ranges to a socket it was given
		use:   "take a vfs.FS or a net.Conn",
	},
	"net": {
		whole: []string{"memnet"},
		parts: map[string][]string{"*": {
			// Types, text and errors; nothing that opens or asks.
			"Conn", "Listener", "Addr", "Error", "Buffers", "TCPConn", "TCPAddr", "IP", "OpError", "ErrClosed",
			"SplitHostPort", "JoinHostPort", "ParseIP",
		}},
		use: "take a Dial or a Listen function",
	},
	"crypto/rand":  {use: "take a *rand.Rand, or bytes drawn by broker"},
	"math/rand":    {use: "take a *rand.Rand of math/rand/v2"},
	"math/rand/v2": {parts: map[string][]string{"*": {"Rand", "Source", "New", "NewPCG", "PCG", "NewChaCha8", "ChaCha8"}}, use: "take a *rand.Rand"},
	"time": {
		// memnet is the clock of its links, and turns the absolute deadline of a
		// net.Conn into a timer; in a bubble both are false time.
		parts: map[string][]string{
			"memnet": {"Now", "Until"},
			"*":      nil, // all but the names in clock
		},
		use: "take now func() time.Time; timers of package time are fine",
	},
}

// clock are the names of package time that read the wall clock.
var clock = []string{"Now", "Since", "Until"}

func TestMachine(t *testing.T) {
	for _, p := range houseOf(t).packages {
		if !p.under(outside...) && (!slices.Contains(testFloor, p.name) || p.name == "memnet") {
			checkMachine(t, p)
		}
	}
}

func checkMachine(r reporter, p *housePackage) {
	for _, f := range p.files {
		if f.test || f.generated {
			continue
		}
		for _, imp := range f.imports() {
			rule, ok := machine[imp.path]
			if !ok || slices.Contains(rule.whole, p.name) {
				continue
			}
			parts := slices.Concat(rule.parts[p.name], rule.parts["*"])
			checkParts(r, f, imp, func(name string) string {
				if slices.Contains(parts, name) || imp.path == "time" && !slices.Contains(clock, name) {
					return ""
				}
				return rule.use
			})
		}
	}
}

// checkParts reports each name of an imported package for which instead gives
// an advice.
func checkParts(r reporter, f *houseFile, imp importSpec, instead func(name string) string) {
	r.Helper()
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == imp.name {
			if advice := instead(sel.Sel.Name); advice != "" {
				r.Errorf("%s: %s.%s is the machine's: %s", f.at(sel.Pos()), imp.name, sel.Sel.Name, advice)
			}
		}
		return true
	})
}

// TestSelects: when several cases of a select are ready, the runtime throws a
// die that no seed controls. Whoever writes a select with more than one case
// says why that cannot happen, or why it does not matter.
func TestSelects(t *testing.T) {
	for _, p := range houseOf(t).packages {
		if !p.under(outside...) {
			checkSelects(t, p)
		}
	}
}

func checkSelects(r reporter, p *housePackage) {
	for _, f := range p.files {
		if f.test || f.generated {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectStmt)
			if ok && ready(sel) > 1 && !f.excused(sel.Pos(), "select") {
				r.Errorf("%s: select with several cases: look at one first, or say above it "+
					"\"//house:select REASON\" why two are never ready or the choice does not show", f.at(sel.Pos()))
			}
			return true
		})
	}
}

// ready counts the cases of a select besides default.
func ready(sel *ast.SelectStmt) int {
	n := 0
	for _, c := range sel.Body.List {
		if c.(*ast.CommClause).Comm != nil {
			n++
		}
	}
	return n
}

// TestMapOrder finds a range over a map whose order can show: its body appends
// to a slice that the function does not sort later, sends on a channel, or calls
// something that writes.
//
// Not found: order that escapes through a callback, a return from within the
// loop, or a slice that is sorted only on some paths. The simulator's equal
// trace hashes catch what is left.
func TestMapOrder(t *testing.T) {
	for _, c := range checkedOf(t) {
		if !c.under(outside...) {
			checkMapOrder(t, c)
		}
	}
}

func checkMapOrder(r reporter, c *checked) {
	for _, f := range c.files {
		for _, fn := range functions(f) {
			if f.generated {
				continue
			}
			ast.Inspect(fn.decl, func(n ast.Node) bool {
				loop, ok := n.(*ast.RangeStmt)
				if !ok || !overMap(c, loop) || f.excused(loop.Pos(), "maporder") {
					return true
				}
				if what := showsOrder(c, loop, fn); what != "" {
					r.Errorf("%s: map order %s: range over slices.Sorted(maps.Keys(m)), or say above it \"//house:maporder REASON\"",
						f.at(loop.Pos()), what)
				}
				return true
			})
		}
	}
}

// overMap tells whether a loop ranges over a map, or over maps.Keys and the
// like of one.
func overMap(c *checked, loop *ast.RangeStmt) bool {
	if tv, ok := c.info.Types[loop.X]; ok && tv.Type != nil {
		if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
			return true
		}
	}
	call, ok := loop.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	id, _ := rootOf(sel, ok)
	return id == "maps"
}

func rootOf(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// writes are the beginnings of names of functions that let others see an order.
var writes = []string{"Write", "Send", "Emit", "Encode", "Fprint", "Print", "Publish", "Propose"}

func showsOrder(c *checked, loop *ast.RangeStmt, fn function) (what string) {
	ast.Inspect(loop.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SendStmt:
			what = "reaches a channel"
		case *ast.AssignStmt:
			if id := appendsTo(n); id != nil && !sortedLater(fn, loop.End(), id) && declaredOutside(c, id, loop) {
				what = "reaches " + id.Name + ", which is not sorted later"
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if ok && slices.ContainsFunc(writes, func(w string) bool { return strings.HasPrefix(sel.Sel.Name, w) }) {
				what = "reaches " + sel.Sel.Name
			}
		}
		return what == ""
	})
	return what
}

// appendsTo gives x for x = append(x, ...) and for x.f = append(x.f, ...).
func appendsTo(a *ast.AssignStmt) *ast.Ident {
	if len(a.Rhs) != 1 {
		return nil
	}
	call, ok := a.Rhs[0].(*ast.CallExpr)
	if !ok {
		return nil
	}
	if id, ok := call.Fun.(*ast.Ident); !ok || id.Name != "append" {
		return nil
	}
	if _, indexed := a.Lhs[0].(*ast.IndexExpr); indexed {
		return nil // into another map or by position: the order is that of the index
	}
	if id, ok := call.Args[len(call.Args)-1].(*ast.Ident); ok && id.Name == "nil" {
		return nil // room for what is put in by index
	}
	return rootIdent(a.Lhs[0])
}

func declaredOutside(c *checked, id *ast.Ident, loop *ast.RangeStmt) bool {
	obj := c.info.Uses[id]
	return obj == nil || obj.Pos() < loop.Pos() || obj.Pos() > loop.End()
}

// sortedLater tells whether the function, after pos, hands the named value to
// something of which the name begins with sort, in any package.
func sortedLater(fn function, pos token.Pos, id *ast.Ident) bool {
	found := false
	ast.Inspect(fn.decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || call.Pos() < pos {
			return true
		}
		name := ""
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			name = fun.Name
		case *ast.SelectorExpr:
			name = fun.Sel.Name
			if pkg, ok := rootOf(fun, true); ok && pkg == "sort" {
				name = "Sort"
			}
		}
		if !strings.HasPrefix(strings.ToLower(name), "sort") {
			return true
		}
		for _, arg := range call.Args {
			ast.Inspect(arg, func(n ast.Node) bool {
				if use, ok := n.(*ast.Ident); ok && use.Name == id.Name {
					found = true
				}
				return true
			})
		}
		return true
	})
	return found
}

// TestNoSleepInTests: a sleep that waits for something is too short on a slow
// day and too long on all others. Inside a synctest bubble time is false and
// sleeping is exact.
func TestNoSleepInTests(t *testing.T) {
	for _, p := range houseOf(t).packages {
		checkSleep(t, p)
	}
}

func checkSleep(r reporter, p *housePackage) {
	for _, f := range p.files {
		if !f.test || f.localName("testing/synctest") != "" || f.localName("time") == "" {
			continue
		}
		checkParts(r, f, importSpec{name: f.localName("time")}, func(name string) string {
			if name != "Sleep" {
				return ""
			}
			return "wait for the event itself (a channel, t.Context), or fake time with testing/synctest"
		})
	}
}
