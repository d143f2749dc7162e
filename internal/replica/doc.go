// Package replica runs the partitions this broker holds: each one joins the
// decisions of package partition with the log of package commitlog.
//
// An append has these steps, in this order; every error a producer can see
// comes from one of them:
//
//	size     MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
//	inspect  INVALID_RECORD, INVALID_TIMESTAMP, …     only if the topic's rules need it
//	-- from here on in the log's turn --
//	admit    NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, NOT_ENOUGH_REPLICAS
//	produce  OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, or a duplicate
//	write    KAFKA_STORAGE_ERROR                      stamp, one write for all who wait
//	publish  the new end, and the high watermark where nothing holds it back
//
// The turn: whoever finds the log free takes it, writes its own batch and all
// that queued meanwhile, publishes, and hands on; the others park on channels of
// their own. It is held over I/O, which no mutex here is. Roles change and logs
// are cut in a turn too, so within one the role stands still.
//
// A batch that must be durable is answered by completion, not by Append: the
// flusher moves the flushed end, that moves the high watermark, and a [Waiter]
// is done. After a failed flush nothing is answered but KAFKA_STORAGE_ERROR, and
// the replica stays offline until it is opened again.
//
// The [Table] holds the replicas of this broker, opens their logs a few at a
// time, applies the roles that the cluster's image gives them, and removes the
// folders of deleted topics.
package replica
