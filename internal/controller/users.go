package controller

import (
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/sasl"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// scramLevel is the metadata's level from which there are records of users.
const scramLevel = 11

// AlterUserScramCredentials decides on credentials of users who log in by SCRAM
// (KIP-554). Each user is answered once; one that is named twice is refused.
func AlterUserScramCredentials(s *State, req *msg.AlterUserScramCredentialsRequest) (Records, *msg.AlterUserScramCredentialsResponse) {
	resp := msg.NewAlterUserScramCredentialsResponse()
	var recs Records
	for _, u := range scramUsers(req) {
		rec, err := s.alterScram(u)
		if err == nil {
			recs = append(recs, rec)
		}
		row := msg.AlterUserScramCredentialsResponseResult{User: u.name}
		row.ErrorCode, row.ErrorMessage = answer(err)
		resp.Results = append(resp.Results, row)
	}
	return recs, &resp
}

// RefuseScram answers each user of a request with the same error.
func RefuseScram(req *msg.AlterUserScramCredentialsRequest, code int16, text *string) *msg.AlterUserScramCredentialsResponse {
	resp := msg.NewAlterUserScramCredentialsResponse()
	for _, u := range scramUsers(req) {
		resp.Results = append(resp.Results, msg.AlterUserScramCredentialsResponseResult{User: u.name, ErrorCode: code, ErrorMessage: text})
	}
	return &resp
}

// scramWish is what a request wants of one user.
type scramWish struct {
	name   string
	delete *msg.AlterUserScramCredentialsRequestDeletion
	put    *msg.AlterUserScramCredentialsRequestUpsertion
	times  int
}

// scramUsers collects a request's wishes by user, in the order of their first.
func scramUsers(req *msg.AlterUserScramCredentialsRequest) []*scramWish {
	var all []*scramWish
	known := map[string]*scramWish{}
	of := func(name string) *scramWish {
		u := known[name]
		if u == nil {
			u = &scramWish{name: name}
			known[name] = u
			all = append(all, u)
		}
		u.times++
		return u
	}
	for i := range req.Deletions {
		if u := of(req.Deletions[i].Name); u.times == 1 {
			u.delete = &req.Deletions[i]
		}
	}
	for i := range req.Upsertions {
		if u := of(req.Upsertions[i].Name); u.times == 1 {
			u.put = &req.Upsertions[i]
		}
	}
	return all
}

// alterScram decides on one user. What is wrong with the first wish is said
// before that there is another.
func (s *State) alterScram(u *scramWish) (state.Record, error) {
	if s.Image.Feature(FeatureMetadata) < scramLevel {
		return nil, refuse(kafka.UnsupportedVersion, "The current metadata.version does not support SCRAM")
	}
	rec, err := s.scramRecord(u)
	if err != nil {
		return nil, err
	}
	if u.times > 1 {
		return nil, refuse(kafka.DuplicateResource, "A user credential cannot be altered twice in the same request")
	}
	return rec, nil
}

func (s *State) scramRecord(u *scramWish) (state.Record, error) {
	if d := u.delete; d != nil {
		if err := checkScram(d.Name, d.Mechanism); err != nil {
			return nil, err
		}
		if s.Image.Scram(d.Name, d.Mechanism) == nil {
			return nil, refuse(kafka.ResourceNotFound, "Attempt to delete a user credential that does not exist")
		}
		r := state.NewRemoveUserScramCredentialRecord()
		r.Name, r.Mechanism = d.Name, d.Mechanism
		return &r, nil
	}
	p := u.put
	if err := checkScram(p.Name, p.Mechanism); err != nil {
		return nil, err
	}
	switch {
	case p.Iterations < sasl.MinIterations:
		return nil, refuse(kafka.UnacceptableCredential, "Too few iterations")
	case p.Iterations > sasl.MaxIterations:
		return nil, refuse(kafka.UnacceptableCredential, "Too many iterations")
	case len(p.SaltedPassword) == 0:
		return nil, refuse(kafka.UnknownServerError, "") // as Kafka, whose library stumbles over it
	}
	return ScramRecord(p.Name, sasl.Scram(p.Mechanism), sasl.Scram(p.Mechanism).Credential(p.SaltedPassword, p.Salt, p.Iterations)), nil
}

// ScramRecord is the record that sets a user's credential.
func ScramRecord(user string, mechanism sasl.Scram, c sasl.Credential) state.Record {
	r := state.NewUserScramCredentialRecord()
	r.Name, r.Mechanism, r.Iterations = user, int8(mechanism), c.Iterations
	r.Salt, r.StoredKey, r.ServerKey = c.Salt, c.StoredKey, c.ServerKey
	return &r
}

func checkScram(user string, mechanism int8) error {
	switch {
	case user == "":
		return refuse(kafka.UnacceptableCredential, "Username must not be empty")
	case !sasl.Scram(mechanism).Valid():
		return refuse(kafka.UnsupportedSASLMechanism, "Unknown SCRAM mechanism")
	}
	return nil
}

// DescribeUserScramCredentials tells by which mechanisms users log in and how
// often their passwords are hashed: of all who can when none is named.
func DescribeUserScramCredentials(m *cluster.Image, req *msg.DescribeUserScramCredentialsRequest) *msg.DescribeUserScramCredentialsResponse {
	resp := msg.NewDescribeUserScramCredentialsResponse()
	resp.ErrorMessage = new("")
	times := map[string]int{}
	var names []string
	add := func(name string) {
		if times[name]++; times[name] == 1 {
			names = append(names, name)
		}
	}
	for _, u := range req.Users {
		add(u.Name)
	}
	if len(req.Users) == 0 {
		for k := range m.Scrams() {
			if times[k.User] == 0 {
				add(k.User)
			}
		}
	}
	for _, name := range names {
		var row msg.DescribeUserScramCredentialsResponseResult
		row.User, row.ErrorMessage = name, new("")
		switch {
		case times[name] > 1:
			row.ErrorCode, row.ErrorMessage = answer(refuse(kafka.DuplicateResource, "Cannot describe SCRAM credentials for the same user twice in a single request: %s", name))
		default:
			for k, c := range m.ScramOf(name) {
				row.CredentialInfos = append(row.CredentialInfos, msg.DescribeUserScramCredentialsResponseResultCredentialInfo{Mechanism: k.Mechanism, Iterations: c.Iterations})
			}
			if len(row.CredentialInfos) == 0 {
				row.ErrorCode, row.ErrorMessage = answer(refuse(kafka.ResourceNotFound, "Attempt to describe a user credential that does not exist: %s", name))
			}
		}
		resp.Results = append(resp.Results, row)
	}
	return &resp
}
