package listen

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// TestTCP sends over real sockets what the other tests send in memory, since
// they are driven by their descriptors.
func TestTCP(t *testing.T) {
	s := &stage{}
	dial, end := s.runTCP(t, nil)
	defer end()
	var wg sync.WaitGroup
	for range 4 {
		p := dial()
		defer p.Close()
		var stream []byte
		var bodies []string
		for i := range 40 {
			body := "n" + strings.Repeat(string(rune('a'+i%26)), i*i*11)
			if i%10 == 9 {
				body = "n" + strings.Repeat("z", i<<16)
			}
			bodies = append(bodies, body)
			stream = append(stream, frame(kafka.KeyProduce, 3, int32(i+1), body)...)
		}
		wg.Go(func() {
			for i := 1; len(stream) > 0; i++ {
				n := min(len(stream), 1+i*i*i%99991)
				if _, err := p.Write(stream[:n]); err != nil {
					t.Error(err)
					return
				}
				stream = stream[n:]
			}
		})
		wg.Go(func() {
			for i, b := range bodies {
				if err := p.answer(int32(i+1), 0, b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestDrainDoesNotReset: a client that still sends while the broker ends gets the
// answers that are due and an orderly end after them.
func TestDrainDoesNotReset(t *testing.T) {
	s := &stage{}
	dial, end := s.runTCP(t, nil)
	p, idle := dial(), dial()
	p.produce("la")
	idle.echo("b")
	idle.want(0, "b")
	for written := false; !written; runtime.Gosched() {
		s.mu.Lock()
		written = len(s.later) == 1
		s.mu.Unlock()
	}
	drained := make(chan struct{})
	go func() { defer close(drained); end() }()
	idle.ended() // and p, which came before it, is not read any more
	idle.Close()
	p.write(make([]byte, 64<<10))
	s.settle(0, nil)
	p.want(0, "la")
	if _, err := p.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
	p.Close()
	<-drained
}

// onDisk is a range of a real file.
type onDisk struct {
	f      *os.File
	off, n int
	mu     sync.Mutex
	gone   int
}

func (d *onDisk) Len() int                   { return d.n }
func (d *onDisk) Ready(at int) int           { return min(d.n-at, 100_000) } // piece by piece
func (d *onDisk) Fd() (uintptr, int64, bool) { return d.f.Fd(), int64(d.off), true }
func (d *onDisk) ReadAt(p []byte, off int) error {
	_, err := d.f.ReadAt(p, int64(d.off+off))
	return err
}
func (d *onDisk) Release() {
	d.mu.Lock()
	d.gone++
	d.mu.Unlock()
}

func TestSendfile(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	name := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	big, small := &onDisk{f: f, off: 1000, n: 2 << 20}, &onDisk{f: f, off: 7, n: 500}
	s := &stage{files: []api.Range{small, big, small, big}}
	dial, end := s.runTCP(t, nil)
	b, sm := content[1000:1000+2<<20], content[7:507]
	want := string(bytes.Join([][]byte{sm, b, sm, b}, nil))
	var wg sync.WaitGroup
	for range 3 { // one descriptor, several connections
		p := dial()
		defer p.Close()
		p.echo("a")
		p.echo("b")
		wg.Go(func() {
			for i, head := range []string{"a", "b"} {
				if err := p.answer(int32(i+1), 0, head+want); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()

	cut := dial()
	defer cut.Close()
	s.mu.Lock()
	s.files = []api.Range{&onDisk{f: f, off: 2 << 20, n: 2 << 20}}
	s.mu.Unlock()
	cut.echo("cut off")
	if _, err := cut.drainAll(); err == nil {
		t.Error("a range that was cut off did not close the connection")
	}
	end()
	big.mu.Lock()
	defer big.mu.Unlock()
	if big.gone != 12 || small.gone != 12 {
		t.Errorf("released %d and %d times", big.gone, small.gone)
	}
}

// drainAll reads until the connection ends; the error is that of a whole frame.
func (p *peer) drainAll() (n int, err error) {
	err = p.answer(1, 0, "")
	buf := make([]byte, 64<<10)
	for {
		m, rerr := p.Read(buf)
		if n += m; rerr != nil {
			return n, err
		}
	}
}

// TestClientLeavesWhileParked ends a wait when the client closes, also where it
// has sent another request before, and not while it is there.
func TestClientLeavesWhileParked(t *testing.T) {
	s := &stage{hold: make(chan struct{}, 2)}
	dial, end := s.runTCP(t, nil)
	defer end()
	stays, leaves := dial(), dial()
	defer stays.Close()
	stays.echo("park")
	leaves.echo("park")
	leaves.echo("and more")
	leaves.Close()
	<-s.hold
	if len(s.hold) > 0 {
		t.Error("a wait ended whose client is there")
	}
	stays.Close()
	<-s.hold
}

// TestSocketBuffers pins that the sizes of the kernel's buffers are those of the
// config.
func TestSocketBuffers(t *testing.T) {
	s := &stage{}
	dial, end := s.runTCP(t, func(c *Config) { c.SendBuffer, c.ReceiveBuffer = 20000, 30000 })
	defer end()
	p := dial()
	defer p.Close()
	p.echo("a")
	p.want(0, "a")
	send, receive := bufferSizes(t, s.server.all()[0].net.(*net.TCPConn))
	if send < 20000 || send > 60000 || receive < 30000 || receive > 90000 { // the kernel doubles them
		t.Errorf("send buffer %d, receive buffer %d", send, receive)
	}
}

// TestTLS pins that a connection without a descriptor of its own is served alike.
func TestTLS(t *testing.T) {
	big := &memory{b: bytes.Repeat([]byte("L"), 1<<20)}
	s := &stage{files: []api.Range{big}}
	config := selfSigned(t)
	dial, end := s.runTCP(t, func(c *Config) { c.Listeners[0].TLS = config })
	defer end()
	p := dial()
	p.Conn = tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	defer p.Close()
	p.produce("na", "n"+strings.Repeat("x", 200<<10))
	p.want(0, "na")
	p.want(0, "n"+strings.Repeat("x", 200<<10))
	p.echo("b")
	p.want(0, "b"+string(big.b))

	plain := dial()
	defer plain.Close()
	plain.echo("no TLS")
	plain.Read(make([]byte, 100)) // an alert
	plain.ended()
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
