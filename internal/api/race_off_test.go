//go:build !race

package api

const pooled = true
