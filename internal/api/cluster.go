package api

// ClusterHandlers answer what describes the cluster: Metadata, DescribeCluster,
// DescribeQuorum, and what hands out ids.
type ClusterHandlers struct{}

func (h *ClusterHandlers) rows() []Row { return nil }
