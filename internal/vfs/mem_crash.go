package vfs

import (
	"math/rand/v2"
	"slices"
)

// Policy says what of the things that were written but not durable a power cut
// leaves. Devices and file systems may do any of these.
type Policy int

// The policies, from the plainest.
const (
	// DropAll leaves what was durable and nothing else.
	DropAll Policy = iota
	// KeepAll leaves all that was written, as a killed process does.
	KeepAll
	// Sectors keeps each written sector of 512 bytes, and each change of a name
	// or size, or not, as the dice fall. A size may come without its data: then
	// the file reads as zeros there.
	Sectors
	// Torn keeps what was written up to some byte, a multiple of 512, of each
	// file, and some first changes of names.
	Torn
	// TornPages is Torn with multiples of 4096.
	TornPages
	// NamesLost keeps all data and sizes but no change of a name.
	NamesLost
	// Zeros keeps all names and sizes but no data.
	Zeros
	// Pages keeps all names and sizes, and each written page of 4096 bytes or
	// not: a device that writes back in an order of its own.
	Pages
	// Files keeps what was written to a file whole or not at all, and each
	// change of a name or not.
	Files
	// SomeNames keeps all data and sizes, and each change of a name or not.
	SomeNames
	// Garbage is Sectors with all names and sizes, where what a file grew by and
	// was lost reads as bytes that nobody wrote: blocks used before.
	Garbage
)

// Policies are all of them, for tests that go through each.
var Policies = []Policy{DropAll, KeepAll, Sectors, Torn, TornPages, NamesLost, Zeros, Pages, Files, SomeNames, Garbage}

var policyNames = [...]string{
	"drop-all", "keep-all", "sectors", "torn", "torn-pages", "names-lost", "zeros", "pages", "files", "some-names", "garbage",
}

func (p Policy) String() string { return policyNames[p] }

// Crash gives the disk as the next boot finds it. m itself stays as it is, so
// one moment can be crashed in many ways; use [Mem.StopBefore] to hold it still.
// r may be nil for DropAll, KeepAll, NamesLost and Zeros, which draw nothing.
func (m *Mem) Crash(p Policy, r *rand.Rand) *Mem {
	next := NewMem(MemConfig{Now: m.now})
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{policy: p, rand: r, made: map[*node]*node{}}
	c.names(&m.mu.tree)
	next.mu.tree = tree{root: c.clone(m.mu.root)}
	next.mu.boot = m.mu.boot + 1
	next.mu.budget = m.mu.budget
	next.mu.root.walk("", func(_ string, n *node) { next.mu.used += n.size })
	return next
}

// crash makes the clones of one power cut.
type crash struct {
	policy Policy
	rand   *rand.Rand
	made   map[*node]*node
	final  map[*node]map[string]*node // folders' names as they survive
}

// names decides which changes of names survive.
func (c *crash) names(t *tree) {
	c.final = map[*node]map[string]*node{}
	face := func(n *node) map[string]*node {
		if c.final[n] == nil {
			names := make(map[string]*node, len(n.synced))
			for name, child := range n.synced {
				names[name] = child
			}
			c.final[n] = names
		}
		return c.final[n]
	}
	first := len(t.pending)
	if c.policy == Torn || c.policy == TornPages {
		first = c.rand.IntN(len(t.pending) + 1)
	}
	for i := range t.pending {
		keep := false
		switch c.policy {
		case KeepAll, Zeros, Pages, Garbage:
			keep = true
		case Sectors, Files, SomeNames:
			keep = c.rand.IntN(2) == 0
		case Torn, TornPages:
			keep = i < first
		case DropAll, NamesLost:
		}
		if keep {
			t.pending[i].apply(face)
		}
	}
}

// clone copies what survives of n. A file with two names stays one file.
func (c *crash) clone(n *node) *node {
	if made := c.made[n]; made != nil {
		return made
	}
	out := &node{mod: n.mod}
	c.made[n] = out
	if n.dir == nil {
		out.content = c.file(&n.content)
		return out
	}
	names := c.final[n]
	if names == nil {
		names = n.synced
	}
	out.dir, out.synced = map[string]*node{}, map[string]*node{}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted) // the dice must fall in the same order every time
	for _, name := range sorted {
		child := c.clone(names[name])
		out.dir[name], out.synced[name] = child, child
	}
	return out
}

// file gives the bytes that survive of a file.
func (c *crash) file(f *content) content {
	out := content{pages: slices.Clone(f.durable), size: f.durableSize}
	limit := int64(1) << 62 // written bytes from here on are lost
	switch c.policy {
	case DropAll:
		limit = 0
	case KeepAll, NamesLost, Pages, SomeNames, Garbage:
		out.size = f.size
	case Files:
		if c.rand.IntN(2) == 0 {
			out.size = f.size
		} else {
			limit = 0
		}
	case Zeros:
		limit, out.size = 0, f.size
	case Sectors:
		if c.rand.IntN(2) == 0 {
			out.size = f.size
		}
	case Torn:
		limit = c.tear(f, sectorSize)
	case TornPages:
		limit = c.tear(f, pageSize)
	}
	if c.policy == Torn || c.policy == TornPages {
		out.size = max(min(f.durableSize, f.size), min(f.size, limit))
	}
	if f.cut && out.size == f.size {
		out.pages = out.pages[:min(int64(len(out.pages)), pagesOf(f.cutTo))]
	}
	dirty := make([]int64, 0, len(f.dirty))
	for i := range f.dirty {
		dirty = append(dirty, i)
	}
	slices.Sort(dirty)
	for _, i := range dirty {
		c.page(&out, f, i, limit)
	}
	for int64(len(out.pages)) < pagesOf(out.size) {
		out.pages = append(out.pages, nil)
	}
	out.settle()
	return out
}

func (c *crash) tear(f *content, unit int64) int64 {
	return c.rand.Int64N(f.size/unit+2) * unit
}

// page carries over the sectors of a dirty page that survive below limit.
func (c *crash) page(out, f *content, i, limit int64) {
	for int64(len(out.pages)) <= i {
		out.pages = append(out.pages, nil)
	}
	if c.policy == Pages && c.rand.IntN(2) == 0 {
		return
	}
	var fresh *page
	for s := range int64(pageSize / sectorSize) {
		at := i*pageSize + s*sectorSize
		if f.dirty[i]&(1<<s) == 0 || at >= limit {
			continue
		}
		lost := (c.policy == Sectors || c.policy == Garbage) && c.rand.IntN(2) == 0
		if lost && (c.policy == Sectors || at < f.durableSize) {
			continue
		}
		if fresh == nil {
			fresh = new(page)
			if out.pages[i] != nil {
				*fresh = *out.pages[i]
			}
			out.pages[i] = fresh
		}
		sector := fresh[s*sectorSize : (s+1)*sectorSize]
		if lost {
			for b := range sector {
				sector[b] = byte(c.rand.Uint32())
			}
			continue
		}
		copy(sector, f.pages[i][s*sectorSize:])
	}
}

// Fork gives what a killed process leaves: the same run of the machine, so what
// is written is there and still not durable; only the locks are gone. m itself
// stays as it is.
func (m *Mem) Fork() *Mem {
	next := NewMem(MemConfig{Now: m.now})
	m.mu.Lock()
	defer m.mu.Unlock()
	made := map[*node]*node{}
	next.mu.tree = tree{root: m.mu.root.fork(made)}
	for _, op := range m.mu.pending {
		op.dir, op.node, op.from = op.dir.fork(made), op.node.fork(made), op.from.fork(made)
		next.mu.pending = append(next.mu.pending, op)
	}
	next.mu.boot, next.mu.budget, next.mu.used = m.mu.boot, m.mu.budget, m.mu.used
	return next
}

// fork copies both faces of n.
func (n *node) fork(made map[*node]*node) *node {
	if n == nil {
		return nil
	}
	if out := made[n]; out != nil {
		return out
	}
	out := &node{mod: n.mod}
	made[n] = out
	if n.dir != nil {
		out.dir, out.synced = map[string]*node{}, map[string]*node{}
		for name, child := range n.dir {
			out.dir[name] = child.fork(made)
		}
		for name, child := range n.synced {
			out.synced[name] = child.fork(made)
		}
		return out
	}
	out.content = n.content
	out.pages, out.durable = slices.Clone(n.pages), slices.Clone(n.durable)
	out.dirty = make(map[int64]uint8, len(n.dirty))
	for i, sectors := range n.dirty {
		own := *n.pages[i]
		out.pages[i], out.dirty[i] = &own, sectors
	}
	return out
}

// settle makes what a crash left the durable face, and clears what lies behind
// the size in the last page.
func (c *content) settle() {
	n := pagesOf(c.size)
	c.pages = c.pages[:n]
	if at := c.size % pageSize; at != 0 && c.pages[n-1] != nil {
		last := *c.pages[n-1]
		clear(last[at:])
		c.pages[n-1] = &last
	}
	c.durable, c.durableSize = slices.Clone(c.pages), c.size
}
