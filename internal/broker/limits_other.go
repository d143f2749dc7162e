//go:build !unix

package broker

// maxOpenFiles is how many segment files may be open at once.
func maxOpenFiles(set int) int {
	if set > 0 {
		return set
	}
	return 4096
}
