package broker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// many is a node with three log directories; the metadata is in the first.
type many struct {
	stand
	b     *Broker
	stop  func() error
	ended chan error // what Run returned
}

// startMany runs a node on what is in fs.
func startMany(t *testing.T, fs *vfs.Mem, more ...string) *many {
	t.Helper()
	cfg := memory(t, append([]string{"log.dirs=/a,/b,/c"}, more...)...)
	m := &many{stand: stand{T: t, fs: fs, net: memnet.New()}}
	cfg.FS, cfg.Listen = fs, m.net.Host("node1").Listen
	var err error
	if m.b, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.b.Run(ctx) }()
	select {
	case <-m.b.Ready():
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	}
	time.Sleep(time.Second) // let the logs open
	m.cl = m.client()
	m.adm = kadm.NewClient(m.cl)
	m.ended = done
	stopped := false
	m.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		m.cl.Close()
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = m.stop() })
	return m
}

// inMany runs do on a fresh node in a bubble.
func inMany(t *testing.T, do func(t *testing.T, fs *vfs.Mem)) {
	synctest.Test(t, func(t *testing.T) { do(t, vfs.NewMem(vfs.MemConfig{Now: time.Now, Bytes: 1 << 30})) })
}

// partitions of topic t by directory, as DescribeLogDirs tells it: "a: 0 3 | b! | ..."
func (m *many) where() string {
	m.Helper()
	dirs, err := m.adm.DescribeAllLogDirs(m.Context(), nil)
	if err != nil {
		m.Fatal(err)
	}
	var out []string
	for _, d := range dirs[1].Sorted() {
		text := path.Base(d.Dir) + ":"
		if d.Err != nil {
			m.want("error of "+d.Dir, d.Err, error(kerr.KafkaStorageError))
			out = append(out, text+" offline")
			continue
		}
		var list []kadm.DescribedLogDirPartition
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) { list = append(list, p) })
		slices.SortFunc(list, func(a, b kadm.DescribedLogDirPartition) int { return int(a.Partition - b.Partition) })
		for _, p := range list {
			text += fmt.Sprintf(" %d", p.Partition)
			if p.IsFuture {
				text += "f"
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, " | ")
}

// put writes one value to a partition.
func (m *many) put(p int32, value string) error {
	return m.cl.ProduceSync(m.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte(value)}).FirstErr()
}

func (m *many) mustPut(p int32, value string) {
	m.Helper()
	if err := m.put(p, value); err != nil {
		m.Fatalf("write to partition %d: %v", p, err)
	}
}

// grown lets the client learn of new partitions.
func (m *many) grown() {
	m.cl.ForceMetadataRefresh()
	time.Sleep(10 * time.Second)
}

// values reads a partition whole.
func (m *many) values(p int32) string {
	m.Helper()
	ends, err := m.adm.ListEndOffsets(m.Context(), "t")
	if err != nil {
		m.Fatal(err)
	}
	cl := m.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {p: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	var got []string
	for n := ends["t"][p].Offset; int64(len(got)) < n; {
		fetches := cl.PollFetches(m.Context())
		if err := fetches.Err(); err != nil {
			m.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return strings.Join(got, " ")
}

// leaders of topic t by partition.
func (m *many) leaders() string {
	var out []int32
	for _, p := range m.b.metadata.Image().Topic("t").Partitions {
		out = append(out, p.Leader)
	}
	return fmt.Sprint(out)
}

// fails makes every call below a folder fail.
func fails(dir string, err error) vfs.Hook {
	return func(op vfs.Op) (v vfs.Verdict) {
		if op.Name == dir || strings.HasPrefix(op.Name, dir+"/") {
			v.Err = err
		}
		return v
	}
}

// TestDirectories: new partitions go where the fewest are and not where it is
// cordoned, the metadata knows the place of each, a restart finds them.
func TestDirectories(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs)
		if _, err := m.adm.CreateTopic(t.Context(), 5, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		for p := range int32(5) {
			m.mustPut(p, fmt.Sprintf("v%d", p))
		}
		m.want("places", m.where(), "a: 0 3 | b: 1 4 | c: 2")
		set := kadm.AlterConfig{Op: kadm.SetConfig, Name: "cordoned.log.dirs", Value: kadm.StringPtr("/b,/c")}
		if r, err := m.adm.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{set}, 1); err != nil || r[0].Err != nil {
			t.Fatal(r, err)
		}
		if _, err := m.adm.UpdatePartitions(t.Context(), 7, "t"); err != nil {
			t.Fatal(err)
		}
		m.grown()
		m.mustPut(6, "v6")
		m.want("places with two cordoned", m.where(), "a: 0 3 5 6 | b: 1 4 | c: 2")
		m.want("cordoned in the metadata", len(m.b.metadata.Image().Broker(1).CordonedLogDirs), 2)
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}

		m = startMany(t, fs)
		m.want("places after a restart", m.where(), "a: 0 3 5 6 | b: 1 4 | c: 2")
		for p := range int32(5) {
			m.want("values", m.values(p), fmt.Sprintf("v%d", p))
		}
		for i, p := range m.b.metadata.Image().Topic("t").Partitions {
			r, err := m.b.replicas.Get("t", int32(i))
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(m.b.dirs.data, func(d replica.Dir) bool { return d.Home.Path() == r.Directory() })
			m.want("directory in the metadata", fmt.Sprint(p.Directories), fmt.Sprint([]kafka.UUID{m.b.dirs.data[at].ID}))
		}
		m.want("cordoned after a restart", len(m.b.metadata.Image().Broker(1).CordonedLogDirs), 2)
	})
}

// TestDirectoryFails: what is in a directory that fails has no leader until it is
// back; the others go on, also through restarts without it.
func TestDirectoryFails(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs)
		if _, err := m.adm.CreateTopic(t.Context(), 6, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		for p := range int32(6) {
			m.mustPut(p, "before")
		}
		fs.SetHook(fails("/b", syscall.EROFS))
		if err := m.put(1, "lost"); err == nil {
			t.Error("a write to the failed directory is acknowledged")
		}
		time.Sleep(10 * time.Second) // housekeeping comes by
		m.want("places", m.where(), "a: 0 3 | b: offline | c: 2 5")
		m.want("leaders", m.leaders(), "[1 -1 1 1 -1 1]")
		for _, p := range []int32{0, 2, 3, 5} {
			m.mustPut(p, "during")
		}
		if _, err := m.adm.UpdatePartitions(t.Context(), 8, "t"); err != nil {
			t.Fatal(err)
		}
		m.grown()
		m.mustPut(6, "new")
		m.mustPut(7, "new")
		m.want("places of new ones", m.where(), "a: 0 3 6 | b: offline | c: 2 5 7")
		_ = m.stop()

		m = startMany(t, fs) // as it is, without b
		m.want("places after a restart", m.where(), "a: 0 3 6 | b: offline | c: 2 5 7")
		m.want("leaders after a restart", m.leaders(), "[1 -1 1 1 -1 1 1 1]")
		m.mustPut(0, "again")
		_ = m.stop()

		fs.SetHook(nil)
		m = startMany(t, fs)
		m.want("leaders when it is back", m.leaders(), "[1 1 1 1 1 1 1 1]")
		m.want("places when it is back", m.where(), "a: 0 3 6 | b: 1 4 | c: 2 5 7")
		m.want("values", m.values(0)+"; "+m.values(5), "before during again; before during")
		for _, p := range []int32{1, 4} {
			if got := m.values(p); got != "before" && got != "before lost" {
				t.Errorf("partition %d holds %q", p, got)
			}
			m.mustPut(p, "after")
		}
	})
}

// TestDirectoryStalls: a directory that does not answer holds up nothing in the
// others, nor the description of all.
func TestDirectoryStalls(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs)
		if _, err := m.adm.CreateTopic(t.Context(), 6, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		for p := range int32(6) {
			m.mustPut(p, "before")
		}
		time.Sleep(2 * time.Second) // let it look at its room
		fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if strings.HasPrefix(op.Name, "/b") {
				v.Delay = time.Hour
			}
			return v
		})
		stuck := make(chan error, 1)
		other := m.client()
		go func() {
			stuck <- other.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Partition: 1, Value: []byte("slow")}).FirstErr()
			other.Close()
		}()
		time.Sleep(time.Minute) // checkpoints, retention and housekeeping have come by
		began := time.Now()
		for _, p := range []int32{0, 2, 3, 5} {
			m.mustPut(p, "during")
		}
		m.want("places", m.where(), "a: 0 3 | b: 1 4 | c: 2 5")
		if took := time.Since(began); took > time.Second {
			t.Errorf("the others took %v", took)
		}
		points, err := vfs.ReadFile(fs, "/c/recovery-point-offset-checkpoint", 1<<16)
		time.Sleep(10 * time.Second)
		if again, _ := vfs.ReadFile(fs, "/c/recovery-point-offset-checkpoint", 1<<16); err != nil || string(again) == string(points) {
			t.Errorf("the checkpoint of /c stands still: %v", err)
		}
		fs.SetHook(nil)
		time.Sleep(2 * time.Hour)
		<-stuck
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestMetadataDirectoryFails: without its metadata a node ends and says why.
func TestMetadataDirectoryFails(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs, "metadata.log.dir=/m")
		if _, err := m.adm.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		for _, home := range m.b.dirs.homes {
			if home.Path() == "/m" {
				home.Fail(syscall.EIO)
			}
		}
		time.Sleep(time.Second)
		if err := m.stop(); err == nil || !strings.Contains(err.Error(), "/m") {
			t.Errorf("the node ended with %v", err)
		}
	})
}

// TestDirectoryMistakes: what makes no sense is refused in one line.
func TestDirectoryMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(fs *vfs.Mem) []string
		want  string
	}{
		"a copy": {func(fs *vfs.Mem) []string {
			text, _ := vfs.ReadFile(fs, "/a/meta.properties", 1<<16)
			_ = vfs.WriteAtomic(fs, "/b/meta.properties", text)
			return nil
		}, "the same directory.id"},
		"of another cluster": {func(fs *vfs.Mem) []string {
			text, _ := vfs.ReadFile(fs, "/b/meta.properties", 1<<16)
			_ = vfs.WriteAtomic(fs, "/b/meta.properties", []byte(strings.Replace(string(text), "cluster.id=", "cluster.id=x", 1)))
			return nil
		}, "cluster"},
		"of another node": {func(fs *vfs.Mem) []string {
			text, _ := vfs.ReadFile(fs, "/b/meta.properties", 1<<16)
			_ = vfs.WriteAtomic(fs, "/b/meta.properties", []byte(strings.Replace(string(text), "node.id=1", "node.id=2", 1)))
			return nil
		}, "node 2"},
		"metadata elsewhere":   {func(*vfs.Mem) []string { return []string{"metadata.log.dir=/b"} }, "metadata.log.dir"},
		"metadata in an empty": {func(*vfs.Mem) []string { return []string{"metadata.log.dir=/new"} }, "__cluster_metadata-0"},
	} {
		t.Run(name, func(t *testing.T) {
			inMany(t, func(t *testing.T, fs *vfs.Mem) {
				if err := startMany(t, fs).stop(); err != nil {
					t.Fatal(err)
				}
				cfg := memory(t, append([]string{"log.dirs=/a,/b,/c"}, c.spoil(fs)...)...)
				cfg.FS = fs
				b, err := Open(cfg)
				if err == nil {
					b.Close()
					t.Fatal("it started")
				}
				if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q, want one line with %q", err, c.want)
				}
			})
		})
	}
}

// move asks for partitions of topic t to be moved, and gives Kafka's answers.
func (m *many) move(dir string, partitions ...int32) string {
	m.Helper()
	req := kadm.AlterReplicaLogDirsReq{}
	req.Add(dir, kadm.TopicsList{{Topic: "t", Partitions: partitions}}.IntoSet())
	resp, err := m.adm.AlterBrokerReplicaLogDirs(m.Context(), 1, req)
	if err != nil {
		m.Fatal(err)
	}
	var out []string
	for _, r := range resp.Sorted() {
		out = append(out, fmt.Sprintf("%d %v", r.Partition, r.Err))
	}
	return strings.Join(out, ", ")
}

// TestMoveProperties: replicas move as Kafka's tools ask for it, at the rate and
// as many at once as is set, while they are written.
func TestMoveProperties(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs, "num.replica.alter.log.dirs.threads=1", "replica.alter.log.dirs.io.max.bytes.per.second=10000")
		if _, err := m.adm.CreateTopic(t.Context(), 3, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		for p := range int32(3) {
			for range 30 {
				m.mustPut(p, strings.Repeat("x", 1000))
			}
		}
		m.want("answers", m.move("/b", 0, 2), "0 <nil>, 2 <nil>")
		time.Sleep(time.Second)
		if got := m.where(); strings.Count(got, "f") != 1 || !strings.HasSuffix(got, "| c: 2") || !strings.HasPrefix(got, "a: 0 |") {
			t.Errorf("one at a time, slowly: %s", got)
		}
		m.mustPut(0, "meanwhile")
		rate := kadm.AlterConfig{Op: kadm.SetConfig, Name: "replica.alter.log.dirs.io.max.bytes.per.second", Value: kadm.StringPtr("100000000")}
		if r, err := m.adm.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{rate}); err != nil || r[0].Err != nil {
			t.Fatal(r, err)
		}
		time.Sleep(3 * time.Second)
		m.want("places", m.where(), "a: | b: 0 1 2 | c:")
		if got := m.values(0); strings.Count(got, " ") != 30 || !strings.HasSuffix(got, " meanwhile") {
			t.Errorf("%d values", strings.Count(got, " ")+1)
		}
		m.mustPut(0, "after")
		m.want("no such directory", m.move("/nosuch", 0), "0 "+kerr.LogDirNotFound.Error())
		m.want("no such partition", m.move("/a", 9), "9 "+kerr.UnknownTopicOrPartition.Error())
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
		m = startMany(t, fs)
		m.want("places after a restart", m.where(), "a: | b: 0 1 2 | c:")
		m.mustPut(2, "again")
	})
}

// TestUntoldFailure: a node that cannot tell the controller of a failed directory
// ends, because others would go on to think that it serves what is in it.
func TestUntoldFailure(t *testing.T) {
	inMany(t, func(t *testing.T, fs *vfs.Mem) {
		m := startMany(t, fs, "log.dir.failure.timeout.ms=8000")
		if _, err := m.adm.CreateTopic(t.Context(), 3, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if strings.HasPrefix(op.Name, "/a/__cluster_metadata-0") {
				v.Delay = time.Minute
			}
			return v
		})
		for _, d := range m.b.dirs.data {
			if d.Home.Path() == "/b" {
				d.Home.Fail(syscall.EIO)
			}
		}
		time.Sleep(5 * time.Second)
		select {
		case err := <-m.ended:
			t.Fatalf("ended too early: %v", err)
		default:
		}
		time.Sleep(10 * time.Minute)
		if err := m.stop(); err == nil || !strings.Contains(err.Error(), "could not be told of failed log directories") {
			t.Errorf("the node ended with %v", err)
		}
	})
}
