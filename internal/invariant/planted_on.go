//go:build planted

package invariant

import "sync/atomic"

const plantable = true

// grown is the bug that was planted in this process, in builds with the tag only.
var grown = newBed()

type bed struct{ name atomic.Pointer[string] }

func newBed() *bed { return &bed{} }

func isPlanted(name string) bool {
	now := grown.name.Load()
	return now != nil && *now == name
}

func plant(name string) { grown.name.Store(&name) }
