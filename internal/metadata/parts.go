package metadata

// What Metadata does has several sides, each with methods of its own over the one
// state. None has a state of its own.
type (
	leader  struct{ *Metadata } // decides, while this node leads
	asker   struct{ *Metadata } // has requests decided, here or elsewhere
	entrant struct{ *Metadata } // brings this node into the cluster and keeps it there
	watcher struct{ *Metadata } // finds out, for the leader, which brokers are gone
	door    struct{ *Metadata } // knows who is in the quorum and lets others in, for the leader
)
