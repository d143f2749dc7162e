package api

// AdminHandlers answer what changes topics and configs, and what describes them.
type AdminHandlers struct{}

func (h *AdminHandlers) rows() []Row { return nil }
