// Package lazyfs mounts a [vfs.Mem] through FUSE, so that a real process lives
// on a disk whose power can be cut.
//
//	process --system calls--> kernel --FUSE--> lazyfs --> vfs.Mem
//	                                                       Crash: what the disk keeps
//	                                                       SetHook: a sync that fails, or lies
//
// What the process writes is on the written face of the Mem; fsync of a file
// carries its bytes over to the durable one, fsync of a folder its names. To cut
// the power: kill the process, unmount, take [vfs.Mem.Crash] and mount that.
// Unmounting drops what the kernel's page cache holds; nothing is kept back
// there, since FUSE writes through.
//
// It builds on Linux with the tag system, and mounting needs root.
package lazyfs
