package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// A sink is the least that a broker could do for a row, in a process of its own
// so that its CPU time can be read: the floor F that the machine allows.
//
//	produce  read a frame, checksum it, pwrite it, answer
//	sync     the same, with fdatasync before the answer
//	fetch    answer a request with a range of a warm file
//	relay    answer a produce and hand its batch to the fetch that waits
//	durable  the same, with pwrite and fdatasync before either
//
// It speaks just enough of the protocol for the clients of this program.

// runSink serves until its standard input ends, which it does when the program
// that started it is gone.
func runSink(kind, dir string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &sink{kind: kind, dir: dir, parked: make(chan []byte, 1)}
	if kind == "fetch" {
		if err := os.WriteFile(s.path(0), make([]byte, 64<<20), 0o644); err != nil {
			return err
		}
	}
	fmt.Println(ln.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		ln.Close()
		os.Exit(0)
	}()
	for i := 0; ; i++ {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.serve(c.(*net.TCPConn), i)
	}
}

type sink struct {
	kind, dir string
	parked    chan []byte // relay: from the producer to the consumer
}

func (s *sink) path(i int) string { return filepath.Join(s.dir, "sink-"+strconv.Itoa(i)) }

func (s *sink) serve(c *net.TCPConn, i int) {
	defer c.Close()
	if s.kind == "fetch" {
		i = 0
	}
	f, err := os.OpenFile(s.path(i), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		return
	}
	defer f.Close()
	h := sinkConn{sink: s, c: c, f: f, in: bufio.NewReaderSize(c, 64<<10)}
	for {
		if err := h.handle(); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				fmt.Fprintln(os.Stderr, "sink:", err)
			}
			return
		}
	}
}

type sinkConn struct {
	*sink
	c     *net.TCPConn
	f     *os.File
	in    *bufio.Reader
	frame []byte
	out   []byte
	at    int64
	base  int64

	due, answers []byte // batches and answers that wait for the sync
}

func (h *sinkConn) handle() error {
	head, err := h.in.Peek(4)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(head)) + 4
	if cap(h.frame) < n {
		h.frame = make([]byte, n)
	}
	h.frame = h.frame[:n]
	if _, err := io.ReadFull(h.in, h.frame); err != nil {
		return err
	}
	if key := binary.BigEndian.Uint16(h.frame[4:]); key == 1 {
		return h.fetch()
	}
	return h.produce()
}

func (h *sinkConn) produce() error {
	crc32.Checksum(h.frame, crc32.MakeTable(crc32.Castagnoli))
	if h.kind != "relay" {
		if _, err := h.f.WriteAt(h.frame, h.at); err != nil {
			return err
		}
		h.at += int64(len(h.frame))
	}
	if h.relays() {
		const tags = 3 // of the partition, the topic, the request: what follows the batch
		at := len(h.due)
		h.due = append(h.due, h.frame[len(h.frame)-oneRecord-tags:len(h.frame)-tags]...)
		binary.BigEndian.PutUint64(h.due[at:], uint64(h.base))
	}
	h.begin(h.base)
	h.base++
	h.out = append(h.out, make([]byte, 30)...)
	binary.BigEndian.PutUint32(h.out, uint32(len(h.out)-4))
	h.answers = append(h.answers, h.out...)
	if h.kind == "durable" && h.in.Buffered() > 0 {
		return nil // one sync for all that has come
	}
	return h.settle()
}

func (h *sinkConn) relays() bool { return h.kind == "relay" || h.kind == "durable" }

// settle makes durable what the kind says, hands it on and answers.
func (h *sinkConn) settle() error {
	if h.kind == "sync" || h.kind == "durable" {
		if err := fdatasync(h.f); err != nil {
			return err
		}
	}
	if h.relays() {
		h.parked <- append([]byte(nil), h.due...)
		h.due = h.due[:0]
	}
	_, err := h.c.Write(h.answers)
	h.answers = h.answers[:0]
	return err
}

// begin starts an answer as a walker reads it: one topic without a name, one
// partition, no error, an offset.
func (h *sinkConn) begin(offset int64) {
	h.out = append(h.out[:0], 0, 0, 0, 0)
	h.out = append(h.out, h.frame[corrAt:corrAt+4]...)
	h.out = append(h.out, 0)
	if binary.BigEndian.Uint16(h.frame[4:]) == 1 {
		h.out = append(h.out, make([]byte, 10)...)
	}
	h.out = append(h.out, 2, 1, 2, 0, 0, 0, 0, 0, 0)
	h.out = binary.BigEndian.AppendUint64(h.out, uint64(offset))
}

func (h *sinkConn) flush() error {
	binary.BigEndian.PutUint32(h.out, uint32(len(h.out)-4))
	_, err := h.c.Write(h.out)
	return err
}

// fetch answers with records: those that a producer hands over, or a range of
// the file as large as the request's limit for the partition.
func (h *sinkConn) fetch() error {
	var records []byte
	size := 0
	if h.relays() {
		records = <-h.parked
		size = len(records)
	} else {
		size = int(binary.BigEndian.Uint32(h.frame[len(h.frame)-maxBytesFromEnd:]))
	}
	h.begin(0)
	h.out = append(h.out, make([]byte, 8+8+1+4)...)
	h.out = binary.AppendUvarint(h.out, uint64(size)+1)
	if h.relays() {
		h.out = append(h.out, records...)
		return h.flush()
	}
	h.at = (h.at + int64(size)) % (32 << 20)
	if size < 32<<10 {
		at := len(h.out)
		h.out = append(h.out, make([]byte, size)...)
		if _, err := h.f.ReadAt(h.out[at:], h.at); err != nil {
			return err
		}
		return h.flush()
	}
	binary.BigEndian.PutUint32(h.out, uint32(len(h.out)-4+size))
	if _, err := h.c.Write(h.out); err != nil {
		return err
	}
	if _, err := h.f.Seek(h.at, io.SeekStart); err != nil {
		return err
	}
	_, err := h.c.ReadFrom(&io.LimitedReader{R: h.f, N: int64(size)}) // sendfile
	return err
}

// maxBytesFromEnd is where a Fetch of this program holds its partition's limit:
// before it ends with the partition's tags, the topic's tags, no forgotten
// topics, no rack and no tags.
const maxBytesFromEnd = 4 + 1 + 1 + 1 + 1 + 1
