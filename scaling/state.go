package scaling

import (
	"fmt"
	"math"
)

// Verdict is what became of a step's amax.
type Verdict uint8

// The verdicts. Everything but Accepted leaves history and scale as they were.
const (
	Accepted     Verdict = iota // it entered the history, and the scale follows
	NotObserved                 // the operand was not used in this step: a branch that did not run
	RejectedZero                // 0: a tensor of zeros, or without elements, says nothing about the size of others
	RejectedInf                 // an element is infinite
	RejectedNaN                 // an element is NaN
)

var verdictNames = [...]string{Accepted: "accepted", NotObserved: "not observed", RejectedZero: "zero", RejectedInf: "infinite", RejectedNaN: "NaN"}

// String is the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// OrderError says that a State's verbs came in a wrong order.
type OrderError struct{ Verb, Why string }

// Error names the verb and what is wrong.
func (e *OrderError) Error() string { return fmt.Sprintf("scaling: %s: %s", e.Verb, e.Why) }

// Rejected counts the amaxes that a State refused, by kind.
type Rejected struct{ Zero, Inf, NaN int64 }

// Add joins v to the counts.
func (r *Rejected) Add(v Verdict) {
	switch v {
	case RejectedZero:
		r.Zero++
	case RejectedInf:
		r.Inf++
	case RejectedNaN:
		r.NaN++
	}
}

// State is the delayed scaling of one operand: the amaxes of the last steps, newest first, and the scale that the next step casts
// with. During a step come any number of Observe, or Unobserved; Advance ends it.
//
// The first step under amax initialization is no special case here: whoever casts uses the scale of that step's own amax, and
// Observe and Advance then enter it once.
type State struct {
	recipe      Recipe
	formatMax   float32
	history     []float32
	scale       QuantScale
	initialized bool
	rejected    Rejected

	pending pending
	amax    float32 // joined over the observations of this step
}

type pending uint8

const (
	nothing  pending = iota
	absent           // Unobserved was called
	observed         // amax holds something
)

// NewState is the state before any step: a history of zeros and scale 1. formatMax is the value that an amax is scaled to, 448 for
// float8e4m3fn and 57344 for float8e5m2. The margin is the recipe's: give formatMax without it.
func NewState(r Recipe, formatMax float32) *State {
	return &State{recipe: r, formatMax: formatMax, history: make([]float32, r.HistoryLen), scale: 1}
}

// RestoreState is a state that was stored. It refuses a history of another length than the recipe's, or with an element that no
// Advance can have put there, and a scale that is not finite and above zero.
func RestoreState(r Recipe, formatMax float32, history []float32, scale QuantScale, initialized bool) (*State, error) {
	if len(history) != r.HistoryLen {
		return nil, fmt.Errorf("history of %d amaxes, want %d as in recipe %q", len(history), r.HistoryLen, r)
	}
	for i, a := range history {
		if !Usable(a) && a != 0 {
			return nil, fmt.Errorf("history[%d] is %v, want 0 or a finite amax", i, a)
		}
	}
	if !Usable(float32(scale)) {
		return nil, fmt.Errorf("scale is %v, want a finite number above 0", float32(scale))
	}
	return &State{recipe: r, formatMax: formatMax, history: append([]float32(nil), history...), scale: scale, initialized: initialized}, nil
}

// Observe notes the amax of one use of the operand in this step. Several uses (the iterations of a loop, the ranks of a job) join
// by maximum, and NaN wins over any number.
func (s *State) Observe(amax float32) {
	if s.pending != observed {
		s.pending, s.amax = observed, amax
		return
	}
	s.amax = JoinAmax(s.amax, amax)
}

// Unobserved says that the operand was not used in this step, unless it is observed after all.
func (s *State) Unobserved() {
	if s.pending == nothing {
		s.pending = absent
	}
}

// Advance ends the step: the history rolls by one and the step's amax becomes its element 0, and the scale becomes
// Recipe.Scale of the history's largest or newest amax. An amax that is 0, Inf or NaN changes nothing and is counted. The error is
// an [OrderError] where the step was neither observed nor said to be unobserved.
func (s *State) Advance() (Verdict, error) {
	p, amax := s.pending, s.amax
	s.pending, s.amax = nothing, 0
	switch {
	case p == nothing:
		return 0, &OrderError{"Advance", "the step has no Observe and no Unobserved"}
	case p == absent:
		return NotObserved, nil
	}
	v := Judge(amax)
	if v != Accepted {
		s.rejected.Add(v)
		return v, nil
	}
	copy(s.history[1:], s.history)
	s.history[0] = amax
	s.initialized = true
	s.scale = s.recipe.Scale(s.formatMax, s.recipe.Reduce(s.history), s.scale)
	return Accepted, nil
}

// History is a copy of the amaxes, newest first; 0 where there is none yet.
func (s *State) History() []float32 { return append([]float32(nil), s.history...) }

// Scale is what the next step casts with.
func (s *State) Scale() QuantScale { return s.scale }

// Initialized reports whether the history holds an observation.
func (s *State) Initialized() bool { return s.initialized }

// Rejected are the amaxes refused since the state was made.
func (s *State) Rejected() Rejected { return s.rejected }

// Reduce is the amax that a history gives: its largest, or its newest.
func (r Recipe) Reduce(history []float32) float32 {
	if len(history) == 0 {
		return 0
	}
	if r.Compute == MostRecent {
		return history[0]
	}
	amax := float32(0)
	for _, a := range history {
		amax = max(amax, a)
	}
	return amax
}

// Judge says what a State does with the amax of a step. An amax is not negative; one that is, is a zero.
func Judge(amax float32) Verdict {
	switch {
	case amax != amax:
		return RejectedNaN
	case math.IsInf(float64(amax), 1):
		return RejectedInf
	case !(amax > 0):
		return RejectedZero
	}
	return Accepted
}

// JoinAmax is the amax of two parts: the larger, NaN where one is NaN.
func JoinAmax(a, b float32) float32 { return max(a, b) } // Go's max gives NaN for any NaN
