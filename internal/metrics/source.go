package metrics

// Source is where the numbers come from that others keep anyway. Each function
// is called at every scrape; nil leaves its metrics out. Lists come in a fixed
// order.
type Source struct {
	Topics      func() []Topic
	Partitions  func() []Partition
	Controller  func() Controller
	Raft        func() Raft
	Brokers     func() []Broker
	Sessions    func() (sessions, partitions int, evicted uint64)
	OfflineDirs func() int
	Cleaner     func() Cleaner
	LogDirs     func() []LogDir
	Scrubbers   func() []Scrubber

	Groups       func() *Census
	GroupCounts  func() GroupCoordinator
	Coordinators func() []Coordinator
	Transactions func() Transactions
	Share        func() Share
}

// LogDir is how a log directory and its volume are.
type LogDir struct {
	Dir         string
	Offline     bool
	Cordoned    bool // takes no new replicas
	Room        int  // 0 plenty, 1 below the soft watermark, 2 below the hard one
	Free, Total int64
	Ballast     int64
	Full        int64   // writes that found the volume full, so far
	Slowest     float64 // seconds that the oldest call under way has taken, 0 below one
	Waiting     int64   // calls that wait for others to end
	FailedReads int64   // reads that the device answered with an error, so far
	// ClockDoubted: the wall clock jumped, and what deletes by age does not go by it.
	ClockDoubted bool
}

// Scrubber is what the verifying of a log directory's data found.
type Scrubber struct {
	Dir                    string
	Bytes, Mended, Damaged int64   // since the start
	Ranges                 int     // damaged ones that are known
	LastPass               float64 // Unix time of the end of the last pass over everything, 0 if there was none
}

// Cleaner is what compaction does, as of the last look at the logs.
type Cleaner struct {
	MaxDirtyPercent      int     // of the dirtiest log
	MaxCompactionDelay   float64 // seconds by which max.compaction.lag.ms is passed
	MaxCleanTime         float64 // seconds the last round took
	MaxBufferUtilization int     // percent of the table of keys that the last round used
	RecopyPercent        int     // share of what the last round read that it wrote
	SinceLastRunMs       int64   // -1: not yet
	Dirs                 []CleanerDir
}

// CleanerDir counts the logs of a directory that cannot be cleaned.
type CleanerDir struct {
	Dir        string
	Partitions int
	Bytes      int64
}

// Topic is what clients did with a topic on this broker since it started.
type Topic struct {
	Name                        string
	MessagesIn                  int64
	BytesIn, BytesOut           int64
	TotalProduce, FailedProduce int64 // requests
	TotalFetch, FailedFetch     int64
	ReplicationBytesOut         int64
}

// Partition is one partition that this broker holds.
type Partition struct {
	Topic      string
	Partition  int32
	Leads      bool // this broker leads it
	Leader     int32
	Preferred  int32 // the broker that should lead
	Replicas   int
	InSync     int
	MinISR     int
	Offline    bool
	Size       int64 // bytes
	Segments   int
	Start, End int64 // offsets: of the first record, after the last
	HW         int64
	Copy       *Copy // nil unless it is on its way to another log directory
}

// Copy is how far the copy of a partition in another log directory is.
type Copy struct{ Size, Start, End int64 }

// Controller is the cluster as the controller counts it.
type Controller struct {
	Active                   bool // this node decides
	ActiveBrokers            int
	FencedBrokers            int
	Topics, Partitions       int
	OfflinePartitions        int
	PreferredImbalance       int // partitions that another broker than the preferred leads
	UncleanElections         int64
	LastAppliedRecordOffset  int64
	LastAppliedRecordLagSecs float64
}

// Raft is this node's part in the metadata quorum.
type Raft struct {
	State                string // leader, follower, candidate, observer
	Leader               int32
	Epoch                int64
	HighWatermark        int64
	LogEnd               int64
	CommitLatencyAvg     float64 // ms
	AppendedRecordsTotal int64
}

// Broker is a registered broker.
type Broker struct {
	ID      int32
	Address string // "host:port" on the first client listener
}
