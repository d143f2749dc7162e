package vfs

import (
	"errors"
	"path"
	"strings"
	"time"
)

var (
	errIsFolder  = errors.New("is a folder")
	errNotFolder = errors.New("is not a folder")
	errNotEmpty  = errors.New("folder is not empty")
)

// node is a file, or a folder if dir is not nil.
type node struct {
	// A folder's names: as written, and as durable.
	dir, synced map[string]*node

	// A file's bytes: see mem_file.go.
	content
	mod time.Time
}

// tree is the names of a Mem: what is written lies in the nodes' dir, what is
// durable in their synced, and between the two the changes in their order.
type tree struct {
	root    *node
	pending []nameOp
}

func newTree() tree {
	return tree{root: &node{dir: map[string]*node{}, synced: map[string]*node{}}}
}

// nameOp is one change of names, which a power cut takes whole or not at all:
// it puts node (nothing, if nil) under name in dir, and takes fromName out of
// from if it is a rename.
type nameOp struct {
	dir      *node
	name     string
	node     *node
	from     *node
	fromName string
}

// look finds a cleaned path; nil if it is not there. Absolute and relative
// paths are the same: there is one root.
func (t *tree) look(name string) *node {
	n := t.root
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." {
			continue
		}
		if n == nil || n.dir == nil {
			return nil
		}
		n = n.dir[part]
	}
	return n
}

// change makes op written.
func (t *tree) change(op nameOp) {
	op.apply(func(n *node) map[string]*node { return n.dir })
	t.pending = append(t.pending, op)
}

// syncDir makes durable what is pending in folder n. A rename between two
// folders is one change: syncing either carries it over.
func (t *tree) syncDir(n *node) {
	rest := t.pending[:0]
	for _, op := range t.pending {
		if op.dir == n || op.from == n {
			op.apply(func(n *node) map[string]*node { return n.synced })
		} else {
			rest = append(rest, op)
		}
	}
	clear(t.pending[len(rest):])
	t.pending = rest
}

// apply does op on one face of the folders.
func (op *nameOp) apply(face func(*node) map[string]*node) {
	if op.from != nil {
		if names := face(op.from); names[op.fromName] == op.node {
			delete(names, op.fromName)
		}
	}
	if op.node == nil {
		delete(face(op.dir), op.name)
	} else {
		face(op.dir)[op.name] = op.node
	}
}

// walk visits every file of the written face in sorted order.
func (n *node) walk(at string, visit func(name string, n *node)) {
	for _, name := range n.names() {
		child := n.dir[name]
		visit(path.Join(at, name), child)
		if child.dir != nil {
			child.walk(path.Join(at, name), visit)
		}
	}
}
