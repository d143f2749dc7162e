package api

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Versions is a range of versions, both ends included.
type Versions struct{ Min, Max int16 }

// Has says whether v lies in the range.
func (v Versions) Has(version int16) bool { return v.Min <= version && version <= v.Max }

// Access is something a handler may ask the authorizer, by [Call.Allowed].
type Access struct {
	Op auth.Operation
	On auth.Resource
}

// Handler answers one request: it appends a body to out.
type Handler func(c *Call, out *Reply)

// Row is one key of the dispatch table.
type Row struct {
	Key        int16
	Name       string   // Kafka's, such as "Produce"
	Served     Versions // what is answered; anything else closes the connection
	Advertised Versions // what ApiVersions tells
	Hidden     bool     // served, but not told by ApiVersions
	Pipelined  bool     // see [Call.Pipelined]
	Access     []Access // all that its handler asks; none means anyone may
	Serve      Handler

	stats *metrics.Request
}

// Config is what a Table is made of.
type Config struct {
	Data    *DataHandlers
	Groups  *GroupHandlers
	Txns    *TxnHandlers
	Admin   *AdminHandlers
	Cluster *ClusterHandlers
	Share   *ShareHandlers
	Shares  *ShareStateHandlers
	Extra   []Row  // keys that no group has
	Logins  Logins // nil: no listener asks for authentication

	// Ready is closed when the broker is in service. Before that only nodes of the
	// cluster are answered, see [Row.Eager]; others wait, since the broker knows the
	// cluster as it once was, or not at all. Nil: from the start.
	Ready <-chan struct{}

	Self       Self
	Authorizer auth.Authorizer
	Quotas     quota.Quotas
	Metrics    *metrics.Requests
	Logger     *slog.Logger
	Now        func() time.Time
}

// Table is the dispatch table: a row for each key that is served. It does not
// change.
type Table struct {
	cfg     Config
	rows    []*Row // by key; nil where nothing is served
	private []*Row // those of nodes among each other, by key from [msg.FirstPrivateKey] on
	bare    Row    // of tokens that come without a request around them

	slots   slotPool
	replies sync.Pool // of *[replyRoom]byte
}

// NewTable builds the table. A group of handlers may be nil in a test; its keys
// are then unknown.
func NewTable(cfg Config) (*Table, error) {
	t := &Table{cfg: cfg}
	for _, row := range t.serves() {
		if err := t.add(row); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Table) serves() []Row {
	rows := append(t.saslRows(), t.apiVersionsRow())
	if h := t.cfg.Data; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Groups; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Txns; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Admin; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Cluster; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Share; h != nil {
		rows = append(rows, h.rows()...)
	}
	if h := t.cfg.Shares; h != nil {
		rows = append(rows, h.rows()...)
	}
	return append(rows, t.cfg.Extra...)
}

func (t *Table) add(row Row) error {
	rows, at := &t.rows, int(row.Key)
	if row.Private() {
		rows, at = &t.private, int(row.Key-msg.FirstPrivateKey)
	}
	switch {
	case row.Key < 0 || row.Serve == nil || row.Served.Min > row.Served.Max:
		return fmt.Errorf("table: the row of key %d is not whole", row.Key)
	case t.find(row.Key) != nil:
		return fmt.Errorf("table: two rows for key %d", row.Key)
	}
	row.stats = t.cfg.Metrics.Request(row.Name)
	*rows = append(*rows, make([]*Row, max(0, at+1-len(*rows)))...)
	(*rows)[at] = &row
	return nil
}

// Eager says whether it is answered before the broker is in service: what nodes send
// to each other, what finds out who is there, and what mends a quorum.
func (r *Row) Eager() bool {
	switch r.Key {
	case kafka.KeyAPIVersions, kafka.KeySASLHandshake, kafka.KeySASLAuthenticate, kafka.KeyDescribeQuorum,
		kafka.KeyAddRaftVoter, kafka.KeyRemoveRaftVoter, kafka.KeyUpdateRaftVoter:
		return true
	}
	return r.Private()
}

// inService waits until the broker is in service, unless the request is answered
// before; false when the broker ends first.
func (t *Table) inService(c *Call) bool {
	if t.cfg.Ready != nil {
		if c.row.Eager() {
			return true
		}
		//house:select both at once: a request at the end may be answered or not
		select {
		case <-t.cfg.Ready:
		case <-c.Ctx.Done():
			return false
		}
	}
	c.Conn.inService = true
	return true
}

// Private says whether nodes alone send it to each other.
func (r *Row) Private() bool { return r.Key >= msg.FirstPrivateKey }

// find gives the row of a key, nil where nothing is served.
func (t *Table) find(key int16) *Row {
	rows := t.rows
	if key >= msg.FirstPrivateKey {
		rows, key = t.private, key-msg.FirstPrivateKey
	}
	if key < 0 || int(key) >= len(rows) {
		return nil
	}
	return rows[key]
}

// row makes a Row of an API at the versions of its schema.
func row(key int16, serve Handler, access ...Access) Row {
	a, _ := msg.APIByKey(key)
	v := Versions{a.Min, a.Max}
	return Row{Key: key, Name: a.Name, Served: v, Advertised: v, Access: access, Serve: serve}
}

// Rows lists the table by key.
func (t *Table) Rows() []*Row {
	return slices.DeleteFunc(slices.Concat(t.rows, t.private), func(r *Row) bool { return r == nil })
}

// The reasons to close a connection before a handler sees the request.
var (
	ErrHeader  = errors.New("the request header cannot be read")
	ErrUnknown = errors.New("unknown API key or version")
	ErrPending = errors.New("not served before authentication")
)

// Admit reads the header of a frame into c and finds its row. On an error the
// connection has to close, without an answer, as Kafka does.
func (t *Table) Admit(c *Call, frame []byte) error {
	var r wire.Reader
	r.Reset(frame)
	c.t, c.row, c.Size, c.bare = t, nil, len(frame), c.Conn.login.bare
	if c.bare {
		c.Key, c.Version, c.row, c.Body = kafka.KeySASLAuthenticate, 0, &t.bare, frame
		return nil
	}
	c.Key, c.Version, c.CorrelationID = r.Int16(), r.Int16(), r.Int32()
	if r.Failed() {
		return ErrHeader
	}
	row := t.find(c.Key)
	if row == nil || row.Private() && !c.Conn.Internal {
		return fmt.Errorf("%w: key %d version %d", ErrUnknown, c.Key, c.Version)
	}
	c.row = row
	if !c.row.Served.Has(c.Version) && !c.forgiven() {
		return fmt.Errorf("%w: %s version %d", ErrUnknown, c.row.Name, c.Version)
	}
	if c.Conn.guarded() {
		if err := c.expected(); err != nil {
			return err
		}
	}
	if !c.header(&r) {
		return ErrHeader
	}
	c.Body = frame[r.Offset():]
	return nil
}

// forgiven says that a client asked for ApiVersions in a version that there is
// not, as one of days to come may; it is told so in version 0.
func (c *Call) forgiven() bool {
	return c.Key == kafka.KeyAPIVersions && !c.row.Served.Has(c.Version)
}

// header reads what follows the correlation id. A client sends the same id in
// every request, so the string is made once.
func (c *Call) header(r *wire.Reader) bool {
	id := r.NullableString(&c.ClientID, false, true)
	switch {
	case id == nil:
		c.ClientID = ""
	case id != &c.ClientID:
		c.ClientID = *id
	}
	if !c.forgiven() && msg.RequestHeaderVersion(c.Key, c.Version) >= 2 {
		r.SkipTags()
	}
	if c.Conn.quota.ID != c.ClientID || c.Conn.quota.Principal != c.Conn.Subject.Principal {
		c.Conn.quota = quota.Client{Principal: c.Conn.Subject.Principal, ID: c.ClientID}
	}
	return !r.Failed()
}

// Serve answers the request that Admit took. c.Time has to be set. It is the one
// place where requests are metered.
//
// What comes out is one of: a frame at the end of out, with or without ranges of
// files; that frame and out.Later; nothing; nothing and out.Close.
func (t *Table) Serve(c *Call, out *Reply) {
	out.Later, out.Mute = nil, 0
	out.begin(c)
	if !c.Conn.inService && !t.inService(c) {
		out.Refuse()
		return
	}
	c.row.Serve(c, out)
	if len(out.Buf) > out.start {
		out.end()
	}
	if out.Later == nil {
		c.row.stats.Observe(c.Conn.ID, c.Version, c.Size, t.cfg.Now().Sub(c.Time))
	}
}

// Taken makes a Slot of the frame that Serve just finished in out, for an answer
// that is due but has to wait its turn, and takes it out of out.
func (t *Table) Taken(c *Call, out *Reply) *Slot {
	s := t.slots.take(c)
	s.row = nil // metered already
	s.Keep(out.Frame())
	out.Drop()
	return s
}

// Answered meters an answer that came later, when it was sent at now.
func (t *Table) Answered(s *Slot, now time.Time) {
	if s.row == nil {
		return
	}
	s.row.stats.Observe(s.conn, s.version, s.size, now.Sub(s.began))
}
