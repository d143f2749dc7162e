package cluster

import (
	"bytes"
	"cmp"
	"iter"
	"strings"

	"github.com/myelin-stream/myelin/internal/wire/state"
)

// ScramKey names a credential: a user has at most one for each mechanism.
type ScramKey struct {
	User      string
	Mechanism int8 // numbered as in Kafka: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
}

// Compare orders by user, then by mechanism.
func (k ScramKey) Compare(o ScramKey) int {
	return cmp.Or(strings.Compare(k.User, o.User), cmp.Compare(k.Mechanism, o.Mechanism))
}

// Scram is what is kept of a user who logs in by SCRAM (RFC 5802): enough to
// check a password and not enough to log in. It must never leave the cluster.
type Scram struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// Scram finds a user's credential, nil when there is none.
func (m *Image) Scram(user string, mechanism int8) *Scram {
	c, _ := m.scram.get(ScramKey{user, mechanism})
	return c
}

// Scrams gives every credential, by user and mechanism.
func (m *Image) Scrams() iter.Seq2[ScramKey, *Scram] { return m.scram.all() }

// ScramOf gives the credentials of one user, by mechanism.
func (m *Image) ScramOf(user string) iter.Seq2[ScramKey, *Scram] {
	return func(yield func(ScramKey, *Scram) bool) {
		for k, c := range m.scram.from(ScramKey{User: user, Mechanism: -1 << 7}) {
			if k.User != user || !yield(k, c) {
				return
			}
		}
	}
}

func (d *Delta) replayScram(r *state.UserScramCredentialRecord) {
	d.users = true
	d.scram.put(ScramKey{r.Name, r.Mechanism}, &Scram{Iterations: r.Iterations,
		Salt: bytes.Clone(r.Salt), StoredKey: bytes.Clone(r.StoredKey), ServerKey: bytes.Clone(r.ServerKey)})
}

func (d *Delta) replayRemoveScram(r *state.RemoveUserScramCredentialRecord) error {
	k := ScramKey{r.Name, r.Mechanism}
	if _, ok := d.scram.get(k); !ok {
		return misfit("user %q has no credential of mechanism %d", r.Name, r.Mechanism)
	}
	d.users = true
	d.scram.remove(k)
	return nil
}

// sameScrams says whether two images have the same credentials.
func sameScrams(a, b *Image) bool {
	if a.scram.size != b.scram.size {
		return false
	}
	for k, c := range a.scram.all() {
		o := b.Scram(k.User, k.Mechanism)
		if o == nil || o.Iterations != c.Iterations || !bytes.Equal(o.Salt, c.Salt) ||
			!bytes.Equal(o.StoredKey, c.StoredKey) || !bytes.Equal(o.ServerKey, c.ServerKey) {
			return false
		}
	}
	return true
}

func (m *Image) scramRecords(yield func(state.Record) bool) bool {
	for k, c := range m.scram.all() {
		r := state.NewUserScramCredentialRecord()
		r.Name, r.Mechanism = k.User, k.Mechanism
		r.Salt, r.StoredKey, r.ServerKey, r.Iterations = c.Salt, c.StoredKey, c.ServerKey, c.Iterations
		if !yield(&r) {
			return false
		}
	}
	return true
}
