package program

// products are the operators that are matrix products.
func products() map[string]lower {
	return map[string]lower{}
}
