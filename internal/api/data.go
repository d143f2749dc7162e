package api

// DataHandlers answer what moves records: Produce, Fetch, ListOffsets,
// OffsetForLeaderEpoch.
type DataHandlers struct{}

func (h *DataHandlers) rows() []Row { return nil }
