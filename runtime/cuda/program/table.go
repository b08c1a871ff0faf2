package program

import "maps"

// table is how each operator is lowered, by the name that operator gives. Each file of operators adds its own; Float8Linear and what
// becomes a segment for other reasons are not in it.
func table() map[string]lower {
	all := map[string]lower{}
	for _, part := range []map[string]lower{products(), elementwise(), views(), moves(), rowwise(), attentions()} {
		maps.Copy(all, part)
	}
	return all
}
