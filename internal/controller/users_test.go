package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/sasl"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// scram plays "-user/mechanism" (delete) and "user/mechanism/iterations" wishes.
func (p *player) scram(wishes string) string {
	req := msg.NewAlterUserScramCredentialsRequest()
	for wish := range strings.FieldsSeq(wishes) {
		f := strings.Split(wish, "/")
		var mechanism int8
		fmt.Sscan(f[1], &mechanism)
		if name, ok := strings.CutPrefix(f[0], "-"); ok {
			req.Deletions = append(req.Deletions, msg.AlterUserScramCredentialsRequestDeletion{Name: name, Mechanism: mechanism})
			continue
		}
		up := msg.AlterUserScramCredentialsRequestUpsertion{Name: f[0], Mechanism: mechanism, Salt: []byte("salt"), SaltedPassword: []byte("salted")}
		fmt.Sscan(f[2], &up.Iterations)
		req.Upsertions = append(req.Upsertions, up)
	}
	recs, resp := AlterUserScramCredentials(p.State, &req)
	var b strings.Builder
	for _, r := range resp.Results {
		fmt.Fprintf(&b, "%s:%s ", r.User, strings.TrimSpace(outcome(r.ErrorCode, r.ErrorMessage)))
	}
	return strings.TrimSpace(p.replay(recs) + fmt.Sprintf("%d records %s", len(recs), b.String()))
}

func TestScramUsers(t *testing.T) {
	p := newPlayer()
	twice := outcome(92, new("A user credential cannot be altered twice in the same request"))
	for _, step := range [][2]string{
		{"alice/1/4096 bob/2/16384", "2 records alice:ok bob:ok"},
		{"alice/1/4095 bob/2/16385", "0 records alice:" + outcome(93, new("Too few iterations")) + " bob:" + outcome(93, new("Too many iterations"))},
		{"alice/3/4096 /1/4096", "0 records alice:" + outcome(33, new("Unknown SCRAM mechanism")) + " :" + outcome(93, new("Username must not be empty"))},
		{"alice/1/4096 alice/2/4096 carol/1/4096", "1 records alice:" + twice + " carol:ok"},
		{"-alice/1 alice/1/4096", "0 records alice:" + twice},
		{"-alice/2 -bob/2", "1 records alice:" + outcome(91, new("Attempt to delete a user credential that does not exist")) + " bob:ok"},
		{"-alice/9", "0 records alice:" + outcome(33, new("Unknown SCRAM mechanism"))},
	} {
		if got := p.scram(step[0]); got != step[1] {
			t.Errorf("%s:\n got %s\nwant %s", step[0], got, step[1])
		}
	}
	c := p.Image.Scram("alice", 1)
	if want := sasl.SHA256.Credential([]byte("salted"), []byte("salt"), 4096); c == nil || string(c.StoredKey) != string(want.StoredKey) || string(c.ServerKey) != string(want.ServerKey) {
		t.Errorf("alice's credential %+v", c)
	}
	p.replay(Records{featureLevel(FeatureMetadata, scramLevel-1)})
	if got, want := p.scram("dora/1/4096"), "0 records dora:"+outcome(35, new("The current metadata.version does not support SCRAM")); got != want {
		t.Errorf("at an older level: %s, want %s", got, want)
	}
}

func TestDescribeScramUsers(t *testing.T) {
	p := newPlayer()
	p.scram("alice/1/4096 bob/2/8192")
	p.scram("alice/2/5000")
	describe := func(names ...string) string {
		req := msg.NewDescribeUserScramCredentialsRequest()
		for _, n := range names {
			req.Users = append(req.Users, msg.DescribeUserScramCredentialsRequestUser{Name: n})
		}
		var b strings.Builder
		for _, r := range DescribeUserScramCredentials(p.Image, &req).Results {
			fmt.Fprintf(&b, "%s %s %v\n", r.User, outcome(r.ErrorCode, r.ErrorMessage), r.CredentialInfos)
		}
		return b.String()
	}
	all := "alice NONE:  [{1 4096} {2 5000}]\nbob NONE:  [{2 8192}]\n"
	if got := describe(); got != all {
		t.Errorf("all:\n%s", got)
	}
	want := "bob NONE:  [{2 8192}]\nalic " + outcome(91, new("Attempt to describe a user credential that does not exist: alic")) + " []\n" +
		"alice " + outcome(92, new("Cannot describe SCRAM credentials for the same user twice in a single request: alice")) + " []\n"
	if got := describe("bob", "alic", "alice", "alice"); got != want {
		t.Errorf("some:\n%s\nwant\n%s", got, want)
	}
}
