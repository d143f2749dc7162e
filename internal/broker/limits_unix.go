//go:build unix

package broker

import "golang.org/x/sys/unix"

// maxOpenFiles is how many segment files may be open at once: what was set, or
// three quarters of what the system lets the process have.
func maxOpenFiles(set int) int {
	if set > 0 {
		return set
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 4096
	}
	return int(min(uint64(lim.Cur), 1<<20) / 4 * 3)
}
