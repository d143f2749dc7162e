//go:build system && linux

package system

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fullDisk is the fault that needs a small disk of its own, which only root can
// mount. A leader there gives its partitions away to who has room.
const fullDisk = "full disk"

// faults are what can happen. Each returns how it is undone.
var faults = map[string]func(*play) func(){
	"kill the leader":        func(p *play) func() { return p.kill(p.leading()) },
	"kill the controller":    func(p *play) func() { return p.kill(p.controller(p.t)) },
	"kill any":               func(p *play) func() { return p.kill(p.dice.IntN(3)) },
	"stop the leader":        func(p *play) func() { return p.freeze(p.leading()) },
	"stop the controller":    func(p *play) func() { return p.freeze(p.controller(p.t)) },
	"restart":                func(p *play) func() { return p.restart(p.dice.IntN(3)) },
	"kill all":               (*play).together,
	"cut off the leader":     func(p *play) func() { return p.cut(p.leading(), true, true) },
	"cut off the controller": func(p *play) func() { return p.cut(p.controller(p.t), true, true) },
	"leader not heard":       func(p *play) func() { return p.cut(p.leading(), true, false) },
	"leader hears nobody":    func(p *play) func() { return p.cut(p.leading(), false, true) },
	"controller not heard":   func(p *play) func() { return p.cut(p.controller(p.t), true, false) },
	"cut between two":        (*play).cutPair,
	"killed and heard later": (*play).late,
	fullDisk:                 (*play).fill,
}

// brief are the faults of the short form. "cut off the controller" is not among them: a
// copier read its source from the start once after it, for a cause that is not found.
var brief = []string{"kill the leader", "stop the leader", "restart", fullDisk}

// kinds are the faults that can happen here.
func (p *play) kinds() []string {
	kinds := strings.Split(os.Getenv("SYSTEM_FAULTS"), ",")
	if kinds[0] == "" {
		kinds = brief
		if os.Getenv("SYSTEM_MINUTES") != "" {
			kinds = nil
			for kind := range faults {
				kinds = append(kinds, kind)
			}
		}
	}
	var out []string
	for _, kind := range kinds {
		if kind != fullDisk || p.small != "" {
			out = append(out, kind)
		}
	}
	return out
}

// leading is the index of a node that leads a partition under load.
func (p *play) leading() int {
	return p.leader(p.t, p.load.topic, p.dice.Int32N(p.load.partitions))
}

func (p *play) moment(most time.Duration) { pause(time.Duration(p.dice.Int64N(int64(most)))) }

func (p *play) kill(i int) func() {
	p.nodes[i].kill()
	return func() { p.nodes[i].launch(p.t) }
}

func (p *play) freeze(i int) func() {
	process := p.nodes[i].cmd.Process
	process.Signal(syscall.SIGSTOP)
	return func() {
		p.moment(4 * time.Second)
		process.Signal(syscall.SIGCONT)
	}
}

func (p *play) restart(i int) func() {
	p.nodes[i].stop(p.t)
	return func() { p.nodes[i].launch(p.t) }
}

func (p *play) together() func() {
	p.killAll()
	for _, b := range p.nodes {
		b.launch(p.t)
	}
	return func() {}
}

// cut lets nothing that a node says reach the others, or nothing that they say
// reach it, or both. What waited arrives later, or its connections are reset.
func (p *play) cut(i int, from, to bool) func() {
	p.isolate(i, from, to)
	return func() {
		p.moment(5 * time.Second)
		p.join(i, p.dice.IntN(2) == 0)
	}
}

func (p *play) isolate(i int, from, to bool) {
	for other := range p.nodes {
		if other == i {
			continue
		}
		if from {
			p.links.gate(i+1, other+1).shut()
		}
		if to {
			p.links.gate(other+1, i+1).shut()
		}
	}
}

func (p *play) join(i int, reset bool) {
	for other := range p.nodes {
		p.links.gate(i+1, other+1).lift(reset)
		p.links.gate(other+1, i+1).lift(reset)
	}
}

// cutPair lets two nodes not hear each other, while the third hears both.
func (p *play) cutPair() func() {
	i := p.dice.IntN(3)
	j := (i + 1 + p.dice.IntN(2)) % 3
	there, back := p.links.gate(i+1, j+1), p.links.gate(j+1, i+1)
	there.shut()
	back.shut()
	return func() {
		p.moment(5 * time.Second)
		reset := p.dice.IntN(2) == 0
		there.lift(reset)
		back.lift(reset)
	}
}

// late holds what a node says, kills it, and lets what it said arrive when another
// process stands in its place.
func (p *play) late() func() {
	i := p.leading()
	p.isolate(i, true, false)
	p.moment(2 * time.Second)
	p.nodes[i].kill()
	return func() {
		p.nodes[i].launch(p.t)
		p.moment(2 * time.Second)
		p.join(i, false)
	}
}

// fill takes all room on the third node's disk.
func (p *play) fill() func() {
	filler := filepath.Join(p.small, "filler")
	fill(p.t, filler, 1<<40)
	p.moment(3 * time.Second)
	fill(p.t, filler, 1<<40)
	return func() {
		p.moment(3 * time.Second)
		if err := os.Remove(filler); err != nil {
			p.t.Fatal(err)
		}
	}
}
