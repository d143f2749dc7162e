package api

// GroupHandlers answer the classic group protocol and committed offsets.
type GroupHandlers struct{}

func (h *GroupHandlers) rows() []Row { return nil }
