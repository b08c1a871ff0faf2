package program

// group are layers that share a cast: they read the same value with equal scales.
type group struct {
	cast
	root    string // the value in memory that they read, themselves or by views of the same order
	written bool   // a step that does the cast was emitted
}

// wanted is demand.
func (b *builder) wanted(name string, cols int64) *cast {
	g := b.groups[name]
	if g == nil || g.written || g.Ld != g.Cols && g.Cols != cols {
		return nil
	}
	return &g.cast
}
