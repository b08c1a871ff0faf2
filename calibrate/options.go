package calibrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// Options say how a run goes. The zero value is one process that takes all rows, with amax initialization.
type Options struct {
	Threads   int   // of the engine; 0 means as many as there are
	MaxMemory int64 // of the engine, in bytes; 0 means no bound

	// NoAmaxInit casts the first batch with the stored scale, 1, instead of a scale from its own amax.
	NoAmaxInit bool

	// Force goes on from a model whose scales were frozen, or from a shard that was not merged.
	Force bool

	// Shard takes a part of every step's rows, with scales of its own. The zero value takes all.
	Shard Shard

	// Group is the processes that share the rows of every step; nil means this one alone.
	Group Group

	// Fingerprint names what the run depends on: model, data and flags. It goes into checkpoints, and only a checkpoint of the
	// same one is resumed.
	Fingerprint string

	// Data names the data as a whole, the same for every shard: it goes into the model, and Merge refuses shards of different data. ""
	// says nothing.
	Data string

	// Resume goes on after the steps that the checkpoint has. Of several ranks only that of rank 0 counts.
	Resume *Checkpoint

	// Save stores a checkpoint, of rank 0, after every Every steps (none for 0), and, where one process runs alone, when the run is
	// interrupted.
	Save  func(*Checkpoint) error
	Every int

	// Progress hears of every finished step.
	Progress func(Progress)

	// Planned hears, once and before the first batch runs, what the engine will need for it.
	Planned func(runtime.Plan)

	// Outputs sees what the model gave for the rows that this rank took of a step. It is not called for a step of which it took none.
	Outputs func(step int, values map[string]runtime.Value) error
}

// Progress is how far a run has come.
type Progress struct {
	Done, Of    int   // steps
	Rows, OfAll int64 // rows of this shard, all ranks together
}

// Shard is part Index, from 0, of Count parts. The zero value, and any of Count 1, is the whole.
type Shard struct{ Index, Count int }

// ParseShard reads "i/n" with i from 1 to n.
func ParseShard(s string) (Shard, error) {
	first, second, ok := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil || n < 1 || i < 1 || i > n {
		return Shard{}, fmt.Errorf("shard: got %q, want i/n with i from 1 to n, such as 2/4", s)
	}
	return Shard{i - 1, n}, nil
}

// String is "i/n" with i from 1, "" for the whole.
func (s Shard) String() string {
	if s.Count <= 1 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index+1, s.Count)
}

// rows is the part of n rows that the shard takes.
func (s Shard) rows(n int) (lo, hi int) {
	if s.Count <= 1 {
		return 0, n
	}
	return Part(n, s.Index, s.Count)
}
