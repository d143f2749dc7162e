package api

func (t *Table) apiVersionsRow() Row { return Row{} }
