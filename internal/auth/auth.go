// Package auth decides who may do what.
//
// A question has three parts: a subject (who is connected, and from where), an
// operation, and the resource it is for. The words are Kafka's, and so are the
// numbers, since ACL requests and the "authorized operations" fields of
// responses carry them.
package auth

// Operation is what a subject wants to do, numbered as in Kafka's ACLs.
type Operation int8

// The operations of Kafka 4.4.
const (
	All             Operation = 2
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Delete          Operation = 6
	Alter           Operation = 7
	Describe        Operation = 8
	ClusterAction   Operation = 9
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
	IdempotentWrite Operation = 12
	CreateTokens    Operation = 13
	DescribeTokens  Operation = 14
	TwoPhaseCommit  Operation = 15
)

// Resource is the kind of thing an operation is for, numbered as in Kafka's
// ACLs.
type Resource int8

// The kinds of resources of Kafka 4.4.
const (
	Topic           Resource = 2
	Group           Resource = 3
	Cluster         Resource = 4
	TransactionalID Resource = 5
	DelegationToken Resource = 6
	User            Resource = 7
)

// ClusterName is the name of the one resource of kind [Cluster].
const ClusterName = "kafka-cluster"

// Anonymous is the principal of a connection that did not authenticate.
const Anonymous = "User:ANONYMOUS"

// Subject is who asks.
type Subject struct {
	Principal string // such as "User:alice"
	Host      string // the peer's address without port
}

// Authorizer answers questions. It is asked on the connection's goroutine for
// every resource of every request, so it must neither block nor allocate.
type Authorizer interface {
	Allow(who *Subject, op Operation, on Resource, name string) bool
}

// AllowAll is the Authorizer of a broker without one: everyone may do
// everything.
type AllowAll struct{}

// Allow says yes.
func (AllowAll) Allow(*Subject, Operation, Resource, string) bool { return true }

// Operations lists what can be done with a resource of kind r, in the order of
// the numbers. It is what the authorized-operations fields report on.
func Operations(r Resource) []Operation {
	switch r {
	case Topic:
		return []Operation{Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs}
	case Group:
		return []Operation{Read, Delete, Describe, DescribeConfigs, AlterConfigs}
	case Cluster:
		return []Operation{Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite}
	case TransactionalID:
		return []Operation{Write, Describe, TwoPhaseCommit}
	case DelegationToken:
		return []Operation{Describe}
	case User:
		return []Operation{CreateTokens, DescribeTokens}
	}
	return nil
}
