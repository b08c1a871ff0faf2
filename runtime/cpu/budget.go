package cpu

// budget counts the bytes that weights in the engine's own form take.
type budget struct{ limit, used int64 }

// newBudget shares out what a session may hold. Half of a bound goes to weights at most: the rest is for values.
func newBudget(maxMemory int64) *budget {
	if maxMemory > 0 {
		return &budget{limit: maxMemory / 2}
	}
	return &budget{limit: availableMemory() / 2}
}

// take counts bytes, if there is room for them.
func (b *budget) take(bytes int64) bool {
	if bytes < 0 || bytes > b.limit-b.used {
		return false
	}
	b.used += bytes
	return true
}
