//go:build !steady

package sim

const steady = false
