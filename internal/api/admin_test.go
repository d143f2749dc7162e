package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestAdminScripts runs testdata/admin_*.txt against the admin and cluster
// handlers on real metadata and replicas.
//
//	API v=N      a request; its body is JSON of the message, in the input. "#t"
//	             stands for the id of topic t.
//	deny WORD .. refuses the named topics, or "cluster", from here on
//	append T P N appends N records to a partition
//	via LISTENER LOCAL  as if the client had come by it
//
// A response is printed as JSON, a row of its first list a line; ids that are
// not zero print as ID.
func TestAdminScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/admin_*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &adminScript{t: t, denied: map[string]bool{}}
				stop := a.start()
				defer stop()
				script.Run(t, file, a.do)
			})
		})
	}
}

type adminScript struct {
	*client
	t        *testing.T
	meta     *metadata.Metadata
	replicas *replica.Table
	denied   map[string]bool
}

// Allow refuses what the script denied.
func (a *adminScript) Allow(_ *auth.Subject, _ auth.Operation, on auth.Resource, name string) bool {
	return !a.denied[name] && !(on == auth.Cluster && a.denied["cluster"])
}

func (a *adminScript) start() (stop func()) {
	fs := vfs.NewMem(vfs.MemConfig{Now: time.Now, Bytes: 1 << 30})
	logger := slog.New(slog.DiscardHandler)
	rng := rand.New(rand.NewPCG(1, 2))
	info, err := metadata.Format(metadata.FormatConfig{FS: fs, LogDirs: []string{"/data"}, Metadata: "/data", NodeID: 1,
		ClusterID: "test-cluster-0000000000", Rand: rng})
	if err != nil {
		a.t.Fatal(err)
	}
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: "/data", Logger: logger, Now: time.Now})
	if err != nil {
		a.t.Fatal(err)
	}
	flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
	a.replicas = replica.NewTable(replica.Config{Self: 1, Dirs: []replica.Dir{{Home: home, FS: fs, Flusher: flusher}},
		Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger})
	a.meta, err = metadata.Open(metadata.Config{FS: fs, Home: home, Dir: "/data", LogDirs: []kafka.UUID{info.DirectoryID},
		NodeID: 1, ClusterID: info.ClusterID, Properties: config.NewBroker(config.Settings{
			"num.partitions": {Value: "2"}, "offsets.topic.num.partitions": {Value: "1"},
			"controller.listener.names": {Value: "CONTROLLER"}}),
		Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", Host: "broker.example", Port: 9092},
			{Listener: "CONTROLLER", Host: "broker.example", Port: 9093}},
		PreviousEpoch: -1, Now: time.Now, Rand: rng, Logger: logger})
	if err != nil {
		a.t.Fatal(err)
	}
	a.meta.Subscribe(a.follow)
	ctx, cancel := context.WithCancel(context.Background())
	flushing, stopFlusher := context.WithCancel(context.Background())
	done := make(chan error, 3)
	go func() { done <- a.meta.Run(ctx) }()
	go func() { done <- a.replicas.Run(ctx) }()
	go func() { done <- flusher.Run(flushing) }()
	if err := a.meta.Ready(ctx); err != nil {
		a.t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Groups, cfg.Data, cfg.Authorizer = nil, nil, a
	cfg.Admin = &AdminHandlers{Metadata: a.meta, Replicas: a.replicas, NodeID: 1, Level: new(slog.LevelVar),
		LogDirs: func() []LogDir {
			return []LogDir{{Path: "/data", Total: 1000, Free: 400}, {Path: "/gone", Total: -1, Free: -1, Err: errors.New("gone")}}
		}}
	cfg.Cluster = &ClusterHandlers{Metadata: a.meta, NodeID: 1}
	cfg.Txns = &TxnHandlers{Txns: a.coordinator(ctx), Metadata: a.meta, Markers: &fakeMarkers{}}
	a.client = newClient(a.t, testTable(a.t, cfg))
	return func() {
		cancel()
		err := errors.Join(<-done, <-done)
		stopFlusher()
		if err := errors.Join(err, <-done, a.meta.Close(), home.Close(true)); err != nil {
			a.t.Error(err)
		}
	}
}

// follow gives the replicas their roles, as broker does.
func (a *adminScript) follow(d *cluster.Delta, img *cluster.Image) {
	var delta replica.Delta
	for _, c := range d.Topics() {
		if c.New == nil {
			for _, p := range c.Old.Partitions {
				delta.Removed = append(delta.Removed, kafka.TopicPartition{Topic: c.Old.Name, Partition: p.ID})
			}
			continue
		}
		conf := replica.DefaultTopicConfig()
		policy, _ := img.Config(cluster.Resource{Kind: cluster.TopicResource, Name: c.New.Name}).Get("cleanup.policy")
		conf.Compacted, conf.Log.KeepAll = policy == "compact", policy == "compact"
		for _, id := range c.Partitions() {
			p := c.New.Partition(id)
			delta.Assigned = append(delta.Assigned, replica.Assignment{
				TopicPartition: kafka.TopicPartition{Topic: c.New.Name, Partition: id}, TopicID: c.New.ID, Config: new(conf),
				Role: partition.Assignment{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
					Replicas: p.Replicas, ISR: p.ISR}})
		}
	}
	a.replicas.Apply(delta)
}

func (a *adminScript) do(c *script.Cmd) string {
	switch c.Name {
	case "deny":
		for _, w := range c.Args {
			a.denied[w] = true
		}
		return ""
	case "append":
		r, err := a.replicas.Get(c.Arg(0), int32(c.Int(1)))
		if err != nil {
			c.Fatalf("%v", err)
		}
		appendTo(a.t, r, batch(int(c.Int(2)), 10))
		return ""
	case "via":
		a.call.Conn.Listener, a.call.Conn.Local = c.Arg(0), c.Arg(1)
		return ""
	}
	for _, api := range msg.APIs {
		if api.Name == c.Name {
			return a.request(c, api)
		}
	}
	c.Fatalf("neither a command nor an API")
	return ""
}

var idName = regexp.MustCompile(`"#([^"]*)"`)

func (a *adminScript) request(c *script.Cmd, api msg.API) string {
	req, _ := msg.NewRequest(api.Key)
	resp, _ := msg.NewResponse(api.Key)
	req.SetDefaults()
	body := idName.ReplaceAllStringFunc(strings.Join(c.Input, "\n"), func(s string) string {
		id := kafka.UUID{1, 2, 3} // of no topic
		if t := a.meta.Image().Topic(s[2 : len(s)-1]); t != nil {
			id = t.ID
		}
		b, _ := json.Marshal([16]byte(id))
		return string(b)
	})
	if body != "" {
		if err := json.Unmarshal([]byte(body), req); err != nil {
			c.Fatalf("%v", err)
		}
	}
	version := int16(c.IntKey("v", int64(api.Max)))
	a.ask(version, req, resp)
	synctest.Wait()
	return printed(resp)
}

var idArray = regexp.MustCompile(`\[(\d{1,3},){15}\d{1,3}\]`)

// printed is a response as JSON, with the rows of its lists on lines of their
// own.
func printed(resp msg.Response) string {
	b, err := json.Marshal(resp)
	if err != nil {
		return err.Error()
	}
	s := idArray.ReplaceAllStringFunc(string(b), func(m string) string {
		if strings.Trim(m, "[]0,") == "" {
			return "0"
		}
		return "ID"
	})
	s = strings.ReplaceAll(s, `"ThrottleTimeMs":0,`, "")
	s = strings.ReplaceAll(s, "[{", "[\n{")
	return strings.ReplaceAll(s, "},{", "},\n{")
}

// The address that a client is told is the one it came by, where that is asked
// for.
func TestAutoAddress(t *testing.T) {
	h := &ClusterHandlers{NodeID: 1, Auto: true}
	self := &cluster.Broker{ID: 1, Endpoints: []cluster.Endpoint{{Listener: "L", Host: "own", Port: 1}}}
	other := &cluster.Broker{ID: 2, Endpoints: []cluster.Endpoint{{Listener: "L", Host: "other", Port: 2}}}
	for _, c := range []struct {
		broker      *cluster.Broker
		local, want string
	}{
		{self, "[::1]:9092", "::1:9092"}, {self, "192.0.2.7:1234", "192.0.2.7:1234"}, {self, "a pipe", "own:1"}, {other, "192.0.2.7:1", "other:2"},
	} {
		call := &Call{Conn: &Conn{Listener: "L", Local: c.local}}
		host, port, ok := h.endpoint(call, c.broker)
		if got := fmt.Sprintf("%s:%d", host, port); !ok || got != c.want {
			t.Errorf("%s: %s, want %s", c.local, got, c.want)
		}
	}
	if _, _, ok := h.endpoint(&Call{Conn: &Conn{Listener: "X"}}, self); ok {
		t.Error("a broker without the listener has an address")
	}
}
