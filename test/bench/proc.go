package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc, USER_HZ, which is 100 on every Linux.
const tick = 10 * time.Millisecond

// target is a process that answers requests: a broker or a sink.
type target struct {
	name  string
	addr  string
	pid   int
	peers []int // the pids of the other nodes of a cluster, if it is one
}

// cpu is the user and system time that the process has used since its start,
// and those of its peers.
func (t target) cpu() (sum time.Duration, err error) {
	for _, pid := range append([]int{t.pid}, t.peers...) {
		d, err := t.cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (t target) cpuOf(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", t.name, err)
	}
	// The name of the program may hold spaces; it ends at the last bracket.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("CPU time of %s: /proc/%d/stat has %d fields", t.name, pid, len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// read is how many bytes the process has read so far, from the device or not.
func (t target) read() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", t.pid))
	if err != nil {
		return 0, fmt.Errorf("what %s has read: %w", t.name, err)
	}
	var n int64
	if _, err := fmt.Sscanf(string(data), "rchar: %d", &n); err != nil {
		return 0, fmt.Errorf("what %s has read: /proc/%d/io: %w", t.name, t.pid, err)
	}
	return n, nil
}

// memory gives VmRSS and VmHWM of the process in bytes: now, and at most so far.
func (t target) memory() (now, peak int64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of %s: %w", t.name, err)
	}
	return kib(data, "VmRSS:"), kib(data, "VmHWM:"), nil
}

// kib finds "NAME  n kB" in a file of /proc and gives it in bytes.
func kib(data []byte, name string) int64 {
	_, rest, _ := strings.Cut(string(data), name)
	var n int64
	fmt.Sscan(rest, &n)
	return n << 10
}

// memFree is the memory of the machine that nothing uses, not even as cache.
func memFree() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return kib(data, "MemFree:")
}

// machineTime is what /proc/stat has counted for all processors together.
type machineTime struct{ all, stolen int64 }

func readMachineTime() machineTime {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var m machineTime
	for i, f := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseInt(f, 10, 64)
		if i < 8 { // guest time, which follows, is in user time already
			m.all += n
		}
		if i == 7 {
			m.stolen = n
		}
	}
	return m
}

// stealSince is the share of time that the host took away.
func (m machineTime) stealSince(before machineTime) float64 {
	if m.all == before.all {
		return 0
	}
	return float64(m.stolen-before.stolen) / float64(m.all-before.all)
}
