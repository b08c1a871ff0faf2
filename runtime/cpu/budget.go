package cpu

// budget counts the bytes that weights in the engine's own form take.
type budget struct{ limit, used int64 }

// defaultWeights bounds the packed weights of a session that has no bound of its own. A float8 weight takes four times its size in the file
// when packed: larger models are unpacked a panel at a time, at every run, so that a run takes a fraction of the file instead of a multiple.
const defaultWeights = 2 << 30

// newBudget shares out what a session may hold. Half of a bound goes to weights at most: the rest is for values.
func newBudget(maxMemory int64) *budget {
	if maxMemory > 0 {
		return &budget{limit: maxMemory / 2}
	}
	return &budget{limit: min(availableMemory()/2, defaultWeights)}
}

// take counts bytes, if there is room for them.
func (b *budget) take(bytes int64) bool {
	if bytes < 0 || bytes > b.limit-b.used {
		return false
	}
	b.used += bytes
	return true
}
