//go:build race

package api

// pooled tells whether what a sync.Pool gets comes back: the race detector lets it
// lose some on purpose, so allocations do not count under it.
const pooled = false
