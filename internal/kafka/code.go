package kafka

import (
	"errors"
	"strconv"
)

// Code is a Kafka error code as it stands in responses: 0 is success, -1 an
// error nobody planned for. A Code is an error, so packages below api wrap one
// with the thing it concerns and api unwraps it with [CodeOf].
//
// Source: the error table of Apache Kafka 4.4.
type Code int16

// The codes of Kafka 4.4, in the protocol's own names.
const (
	UnknownServerError                     Code = -1
	None                                   Code = 0
	OffsetOutOfRange                       Code = 1
	CorruptMessage                         Code = 2
	UnknownTopicOrPartition                Code = 3
	InvalidFetchSize                       Code = 4
	LeaderNotAvailable                     Code = 5
	NotLeaderOrFollower                    Code = 6
	RequestTimedOut                        Code = 7
	BrokerNotAvailable                     Code = 8
	ReplicaNotAvailable                    Code = 9
	MessageTooLarge                        Code = 10
	StaleControllerEpoch                   Code = 11
	OffsetMetadataTooLarge                 Code = 12
	NetworkException                       Code = 13
	CoordinatorLoadInProgress              Code = 14
	CoordinatorNotAvailable                Code = 15
	NotCoordinator                         Code = 16
	InvalidTopicException                  Code = 17
	RecordListTooLarge                     Code = 18
	NotEnoughReplicas                      Code = 19
	NotEnoughReplicasAfterAppend           Code = 20
	InvalidRequiredAcks                    Code = 21
	IllegalGeneration                      Code = 22
	InconsistentGroupProtocol              Code = 23
	InvalidGroupID                         Code = 24
	UnknownMemberID                        Code = 25
	InvalidSessionTimeout                  Code = 26
	RebalanceInProgress                    Code = 27
	InvalidCommitOffsetSize                Code = 28
	TopicAuthorizationFailed               Code = 29
	GroupAuthorizationFailed               Code = 30
	ClusterAuthorizationFailed             Code = 31
	InvalidTimestamp                       Code = 32
	UnsupportedSASLMechanism               Code = 33
	IllegalSASLState                       Code = 34
	UnsupportedVersion                     Code = 35
	TopicAlreadyExists                     Code = 36
	InvalidPartitions                      Code = 37
	InvalidReplicationFactor               Code = 38
	InvalidReplicaAssignment               Code = 39
	InvalidConfig                          Code = 40
	NotController                          Code = 41
	InvalidRequest                         Code = 42
	UnsupportedForMessageFormat            Code = 43
	PolicyViolation                        Code = 44
	OutOfOrderSequenceNumber               Code = 45
	DuplicateSequenceNumber                Code = 46
	InvalidProducerEpoch                   Code = 47
	InvalidTxnState                        Code = 48
	InvalidProducerIDMapping               Code = 49
	InvalidTransactionTimeout              Code = 50
	ConcurrentTransactions                 Code = 51
	TransactionCoordinatorFenced           Code = 52
	TransactionalIDAuthorizationFailed     Code = 53
	SecurityDisabled                       Code = 54
	OperationNotAttempted                  Code = 55
	KafkaStorageError                      Code = 56
	LogDirNotFound                         Code = 57
	SASLAuthenticationFailed               Code = 58
	UnknownProducerID                      Code = 59
	ReassignmentInProgress                 Code = 60
	DelegationTokenAuthDisabled            Code = 61
	DelegationTokenNotFound                Code = 62
	DelegationTokenOwnerMismatch           Code = 63
	DelegationTokenRequestNotAllowed       Code = 64
	DelegationTokenAuthorizationFailed     Code = 65
	DelegationTokenExpired                 Code = 66
	InvalidPrincipalType                   Code = 67
	NonEmptyGroup                          Code = 68
	GroupIDNotFound                        Code = 69
	FetchSessionIDNotFound                 Code = 70
	InvalidFetchSessionEpoch               Code = 71
	ListenerNotFound                       Code = 72
	TopicDeletionDisabled                  Code = 73
	FencedLeaderEpoch                      Code = 74
	UnknownLeaderEpoch                     Code = 75
	UnsupportedCompressionType             Code = 76
	StaleBrokerEpoch                       Code = 77
	OffsetNotAvailable                     Code = 78
	MemberIDRequired                       Code = 79
	PreferredLeaderNotAvailable            Code = 80
	GroupMaxSizeReached                    Code = 81
	FencedInstanceID                       Code = 82
	EligibleLeadersNotAvailable            Code = 83
	ElectionNotNeeded                      Code = 84
	NoReassignmentInProgress               Code = 85
	GroupSubscribedToTopic                 Code = 86
	InvalidRecord                          Code = 87
	UnstableOffsetCommit                   Code = 88
	ThrottlingQuotaExceeded                Code = 89
	ProducerFenced                         Code = 90
	ResourceNotFound                       Code = 91
	DuplicateResource                      Code = 92
	UnacceptableCredential                 Code = 93
	InconsistentVoterSet                   Code = 94
	InvalidUpdateVersion                   Code = 95
	FeatureUpdateFailed                    Code = 96
	PrincipalDeserializationFailure        Code = 97
	SnapshotNotFound                       Code = 98
	PositionOutOfRange                     Code = 99
	UnknownTopicID                         Code = 100
	DuplicateBrokerRegistration            Code = 101
	BrokerIDNotRegistered                  Code = 102
	InconsistentTopicID                    Code = 103
	InconsistentClusterID                  Code = 104
	TransactionalIDNotFound                Code = 105
	FetchSessionTopicIDError               Code = 106
	IneligibleReplica                      Code = 107
	NewLeaderElected                       Code = 108
	OffsetMovedToTieredStorage             Code = 109
	FencedMemberEpoch                      Code = 110
	UnreleasedInstanceID                   Code = 111
	UnsupportedAssignor                    Code = 112
	StaleMemberEpoch                       Code = 113
	MismatchedEndpointType                 Code = 114
	UnsupportedEndpointType                Code = 115
	UnknownControllerID                    Code = 116
	UnknownSubscriptionID                  Code = 117
	TelemetryTooLarge                      Code = 118
	InvalidRegistration                    Code = 119
	TransactionAbortable                   Code = 120
	InvalidRecordState                     Code = 121
	ShareSessionNotFound                   Code = 122
	InvalidShareSessionEpoch               Code = 123
	FencedStateEpoch                       Code = 124
	InvalidVoterKey                        Code = 125
	DuplicateVoter                         Code = 126
	VoterNotFound                          Code = 127
	InvalidRegularExpression               Code = 128
	RebootstrapRequired                    Code = 129
	StreamsInvalidTopology                 Code = 130
	StreamsInvalidTopologyEpoch            Code = 131
	StreamsTopologyFenced                  Code = 132
	ShareSessionLimitReached               Code = 133
	GroupDeletionFailed                    Code = 134
	StreamsTopologyDescriptionUpdateFailed Code = 135
	ControllerIDNotRegistered              Code = 136
)

type codeInfo struct {
	name      string
	retriable bool
}

// codes holds the facts of each code at index code+1.
var codes = [...]codeInfo{
	0:   {"UNKNOWN_SERVER_ERROR", false},
	1:   {"NONE", false},
	2:   {"OFFSET_OUT_OF_RANGE", false},
	3:   {"CORRUPT_MESSAGE", true},
	4:   {"UNKNOWN_TOPIC_OR_PARTITION", true},
	5:   {"INVALID_FETCH_SIZE", false},
	6:   {"LEADER_NOT_AVAILABLE", true},
	7:   {"NOT_LEADER_OR_FOLLOWER", true},
	8:   {"REQUEST_TIMED_OUT", true},
	9:   {"BROKER_NOT_AVAILABLE", false},
	10:  {"REPLICA_NOT_AVAILABLE", true},
	11:  {"MESSAGE_TOO_LARGE", false},
	12:  {"STALE_CONTROLLER_EPOCH", false},
	13:  {"OFFSET_METADATA_TOO_LARGE", false},
	14:  {"NETWORK_EXCEPTION", true},
	15:  {"COORDINATOR_LOAD_IN_PROGRESS", true},
	16:  {"COORDINATOR_NOT_AVAILABLE", true},
	17:  {"NOT_COORDINATOR", true},
	18:  {"INVALID_TOPIC_EXCEPTION", false},
	19:  {"RECORD_LIST_TOO_LARGE", false},
	20:  {"NOT_ENOUGH_REPLICAS", true},
	21:  {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true},
	22:  {"INVALID_REQUIRED_ACKS", false},
	23:  {"ILLEGAL_GENERATION", false},
	24:  {"INCONSISTENT_GROUP_PROTOCOL", false},
	25:  {"INVALID_GROUP_ID", false},
	26:  {"UNKNOWN_MEMBER_ID", false},
	27:  {"INVALID_SESSION_TIMEOUT", false},
	28:  {"REBALANCE_IN_PROGRESS", false},
	29:  {"INVALID_COMMIT_OFFSET_SIZE", false},
	30:  {"TOPIC_AUTHORIZATION_FAILED", false},
	31:  {"GROUP_AUTHORIZATION_FAILED", false},
	32:  {"CLUSTER_AUTHORIZATION_FAILED", false},
	33:  {"INVALID_TIMESTAMP", false},
	34:  {"UNSUPPORTED_SASL_MECHANISM", false},
	35:  {"ILLEGAL_SASL_STATE", false},
	36:  {"UNSUPPORTED_VERSION", false},
	37:  {"TOPIC_ALREADY_EXISTS", false},
	38:  {"INVALID_PARTITIONS", false},
	39:  {"INVALID_REPLICATION_FACTOR", false},
	40:  {"INVALID_REPLICA_ASSIGNMENT", false},
	41:  {"INVALID_CONFIG", false},
	42:  {"NOT_CONTROLLER", true},
	43:  {"INVALID_REQUEST", false},
	44:  {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false},
	45:  {"POLICY_VIOLATION", false},
	46:  {"OUT_OF_ORDER_SEQUENCE_NUMBER", false},
	47:  {"DUPLICATE_SEQUENCE_NUMBER", false},
	48:  {"INVALID_PRODUCER_EPOCH", false},
	49:  {"INVALID_TXN_STATE", false},
	50:  {"INVALID_PRODUCER_ID_MAPPING", false},
	51:  {"INVALID_TRANSACTION_TIMEOUT", false},
	52:  {"CONCURRENT_TRANSACTIONS", true},
	53:  {"TRANSACTION_COORDINATOR_FENCED", false},
	54:  {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false},
	55:  {"SECURITY_DISABLED", false},
	56:  {"OPERATION_NOT_ATTEMPTED", false},
	57:  {"KAFKA_STORAGE_ERROR", true},
	58:  {"LOG_DIR_NOT_FOUND", false},
	59:  {"SASL_AUTHENTICATION_FAILED", false},
	60:  {"UNKNOWN_PRODUCER_ID", false},
	61:  {"REASSIGNMENT_IN_PROGRESS", false},
	62:  {"DELEGATION_TOKEN_AUTH_DISABLED", false},
	63:  {"DELEGATION_TOKEN_NOT_FOUND", false},
	64:  {"DELEGATION_TOKEN_OWNER_MISMATCH", false},
	65:  {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false},
	66:  {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false},
	67:  {"DELEGATION_TOKEN_EXPIRED", false},
	68:  {"INVALID_PRINCIPAL_TYPE", false},
	69:  {"NON_EMPTY_GROUP", false},
	70:  {"GROUP_ID_NOT_FOUND", false},
	71:  {"FETCH_SESSION_ID_NOT_FOUND", true},
	72:  {"INVALID_FETCH_SESSION_EPOCH", true},
	73:  {"LISTENER_NOT_FOUND", true},
	74:  {"TOPIC_DELETION_DISABLED", false},
	75:  {"FENCED_LEADER_EPOCH", true},
	76:  {"UNKNOWN_LEADER_EPOCH", true},
	77:  {"UNSUPPORTED_COMPRESSION_TYPE", false},
	78:  {"STALE_BROKER_EPOCH", false},
	79:  {"OFFSET_NOT_AVAILABLE", true},
	80:  {"MEMBER_ID_REQUIRED", false},
	81:  {"PREFERRED_LEADER_NOT_AVAILABLE", true},
	82:  {"GROUP_MAX_SIZE_REACHED", false},
	83:  {"FENCED_INSTANCE_ID", false},
	84:  {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true},
	85:  {"ELECTION_NOT_NEEDED", true},
	86:  {"NO_REASSIGNMENT_IN_PROGRESS", false},
	87:  {"GROUP_SUBSCRIBED_TO_TOPIC", false},
	88:  {"INVALID_RECORD", false},
	89:  {"UNSTABLE_OFFSET_COMMIT", true},
	90:  {"THROTTLING_QUOTA_EXCEEDED", true},
	91:  {"PRODUCER_FENCED", false},
	92:  {"RESOURCE_NOT_FOUND", false},
	93:  {"DUPLICATE_RESOURCE", false},
	94:  {"UNACCEPTABLE_CREDENTIAL", false},
	95:  {"INCONSISTENT_VOTER_SET", false},
	96:  {"INVALID_UPDATE_VERSION", false},
	97:  {"FEATURE_UPDATE_FAILED", false},
	98:  {"PRINCIPAL_DESERIALIZATION_FAILURE", false},
	99:  {"SNAPSHOT_NOT_FOUND", false},
	100: {"POSITION_OUT_OF_RANGE", false},
	101: {"UNKNOWN_TOPIC_ID", true},
	102: {"DUPLICATE_BROKER_REGISTRATION", false},
	103: {"BROKER_ID_NOT_REGISTERED", false},
	104: {"INCONSISTENT_TOPIC_ID", true},
	105: {"INCONSISTENT_CLUSTER_ID", false},
	106: {"TRANSACTIONAL_ID_NOT_FOUND", false},
	107: {"FETCH_SESSION_TOPIC_ID_ERROR", true},
	108: {"INELIGIBLE_REPLICA", false},
	109: {"NEW_LEADER_ELECTED", false},
	110: {"OFFSET_MOVED_TO_TIERED_STORAGE", false},
	111: {"FENCED_MEMBER_EPOCH", false},
	112: {"UNRELEASED_INSTANCE_ID", false},
	113: {"UNSUPPORTED_ASSIGNOR", false},
	114: {"STALE_MEMBER_EPOCH", false},
	115: {"MISMATCHED_ENDPOINT_TYPE", false},
	116: {"UNSUPPORTED_ENDPOINT_TYPE", false},
	117: {"UNKNOWN_CONTROLLER_ID", false},
	118: {"UNKNOWN_SUBSCRIPTION_ID", false},
	119: {"TELEMETRY_TOO_LARGE", false},
	120: {"INVALID_REGISTRATION", false},
	121: {"TRANSACTION_ABORTABLE", false},
	122: {"INVALID_RECORD_STATE", false},
	123: {"SHARE_SESSION_NOT_FOUND", true},
	124: {"INVALID_SHARE_SESSION_EPOCH", true},
	125: {"FENCED_STATE_EPOCH", false},
	126: {"INVALID_VOTER_KEY", false},
	127: {"DUPLICATE_VOTER", false},
	128: {"VOTER_NOT_FOUND", false},
	129: {"INVALID_REGULAR_EXPRESSION", false},
	130: {"REBOOTSTRAP_REQUIRED", false},
	131: {"STREAMS_INVALID_TOPOLOGY", false},
	132: {"STREAMS_INVALID_TOPOLOGY_EPOCH", false},
	133: {"STREAMS_TOPOLOGY_FENCED", false},
	134: {"SHARE_SESSION_LIMIT_REACHED", true},
	135: {"GROUP_DELETION_FAILED", false},
	136: {"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", false},
	137: {"CONTROLLER_ID_NOT_REGISTERED", false},
}

// Name is the code's protocol name, such as "NOT_LEADER_OR_FOLLOWER", or the
// number where Kafka has none.
func (c Code) Name() string {
	if i := int(c) + 1; i >= 0 && i < len(codes) {
		return codes[i].name
	}
	return "code " + strconv.Itoa(int(c))
}

// Error makes a Code an error; the text is its protocol name.
func (c Code) Error() string { return c.Name() }

// Retriable says whether clients try again by themselves on this code.
func (c Code) Retriable() bool {
	i := int(c) + 1
	return i >= 0 && i < len(codes) && codes[i].retriable
}

// CodeOf finds the Code that err wraps: [None] for nil, [UnknownServerError]
// where there is none.
func CodeOf(err error) Code {
	if err == nil {
		return None
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return UnknownServerError
}
