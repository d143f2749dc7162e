// This package breaks every rule of the house. house_rules_test.go wants each
// line reported that says so, and no other.
package util // want "must begin with" "is not a subject"

import (
	"crypto/rand"
	"errors"
	rand2 "math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

var (
	state   = map[string]int{"a": 1}
	pool    sync.Pool              // want "variable pool has no value"
	locks   = [2]sync.Mutex{}      // want "variable locks is made to change"
	cache   = make(map[string]int) // want "variable cache starts empty"
	version = "dev"                // want "variable version holds a constant"
	table   = []int{1, 2}
	errGone = errors.New("gone")
)

func init() { // want "init: "
	state["b"] = 2 // want "assigns to package variable state"
}

func machine(now func() time.Time, r *rand2.Rand, c net.Conn) error {
	table[0]++            // want "changes package variable table"
	delete(state, "a")    // want "deletes from package variable state"
	clock := time.Now     // want "time.Now is the machine's: take now"
	_ = time.Since(now()) // want "time.Since is the machine's"
	_ = time.After(1)
	_ = rand.Reader   // want "rand.Reader is the machine's"
	_ = rand2.IntN(4) // want "rand2.IntN is the machine's"
	_ = r.IntN(4)
	net.Dial("tcp", "x") // want "net.Dial is the machine's"
	os.Exit(1)           // want "os.Exit is the machine's"
	row, sentinel := &table[0], &errGone
	whole := &state // want "takes the address of package variable state"
	_, _, _, _ = clock, row, sentinel, whole
	return c.Close()
}

func order(m map[string]int, ch chan int) (sorted, unsorted []string) {
	for k := range m {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	for k := range m { // want "map order reaches unsorted"
		unsorted = append(unsorted, k)
	}
	for range m { // want "map order reaches a channel"
		ch <- 1
	}
	for range m { //house:maporder each sends the same
		ch <- 1
	}
	for _, n := range m { // want "map order reaches WriteString"
		os.Stdout.WriteString(string(rune(n))) // want "os.Stdout is the machine's"
	}
	for k, n := range m {
		var local []string
		local = append(local, k)
		state := local
		state[0] = string(rune(n))
	}
	return sorted, unsorted
}

func choose(a, b chan int) {
	select { // want "select with several cases"
	case <-a:
	case b <- 1:
	}
	//house:select the two are never ready at once
	select {
	case <-a:
	case <-b:
	}
	//house:select
	select { // want "select with several cases"
	case <-a:
	case <-b:
	default:
	}
	select {
	case <-a:
	default:
	}
}
