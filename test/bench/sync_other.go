//go:build !linux

package main

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

// forget cannot be had here.
func forget(*os.File) error { return nil }
