package scaling

import (
	"fmt"
	"strconv"
	"strings"
)

// Mode is how one operand gets its scale.
type Mode uint8

// The modes of an operand.
const (
	Delayed Mode = iota // from the amaxes of earlier steps
	Dynamic             // from the tensor at hand, at every step
	Off                 // not cast to float8
)

var modeNames = [...]string{Delayed: "del", Dynamic: "dyn", Off: "off"}

// String is the mode's short name in a recipe: del, dyn, off.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// AmaxCompute is how a history of amaxes becomes the one that gives the scale.
type AmaxCompute uint8

// The ways from a history to an amax.
const (
	Max        AmaxCompute = iota // the largest of the window
	MostRecent                    // the newest
)

// String is max or most_recent.
func (c AmaxCompute) String() string {
	if c == MostRecent {
		return "most_recent"
	}
	return "max"
}

// ParseAmaxCompute reads max or most_recent.
func ParseAmaxCompute(s string) (AmaxCompute, error) {
	switch s {
	case "max":
		return Max, nil
	case "most_recent":
		return MostRecent, nil
	}
	return 0, fmt.Errorf("amax compute: got %q, want max or most_recent", s)
}

// Limits of a recipe's numbers. The longest history in use elsewhere is 1024 (Transformer Engine's default).
const (
	DefaultHistoryLen = 16
	MaxHistoryLen     = 1 << 16
	MaxMargin         = 32
)

// Recipe is how every layer of a model is scaled. The zero value is not a recipe: HistoryLen is at least 1.
type Recipe struct {
	Input, Weight, GradOutput Mode

	HistoryLen int // amaxes kept per operand
	Compute    AmaxCompute
	Margin     int // the scale is divided by 2^Margin
	PowerOfTwo bool
	PerChannel bool // a weight has a scale per output channel instead of one
}

// DefaultRecipe is delayed scaling of every operand over DefaultHistoryLen steps.
func DefaultRecipe() Recipe { return Recipe{HistoryLen: DefaultHistoryLen} }

// String spells the recipe on one line, such as "i:del,w:del,go:del h16 max" with m1, pow2 and per-channel after it where they
// apply. Parse reads it back.
func (r Recipe) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s h%d %s", r.Modes(), r.HistoryLen, r.Compute)
	if r.Margin != 0 {
		fmt.Fprintf(&b, " m%d", r.Margin)
	}
	if r.PowerOfTwo {
		b.WriteString(" pow2")
	}
	if r.PerChannel {
		b.WriteString(" per-channel")
	}
	return b.String()
}

// Modes spells the operands' modes alone: "i:del,w:del,go:del".
func (r Recipe) Modes() string {
	return fmt.Sprintf("i:%s,w:%s,go:%s", r.Input, r.Weight, r.GradOutput)
}

// ParseModes sets the operands' modes from "delayed", "dynamic", or a list such as "i:del,w:del,go:off"; an operand that the list
// leaves out stays as it is in r.
func (r Recipe) ParseModes(s string) (Recipe, error) {
	switch s {
	case "delayed":
		r.Input, r.Weight, r.GradOutput = Delayed, Delayed, Delayed
		return r, nil
	case "dynamic":
		r.Input, r.Weight, r.GradOutput = Dynamic, Dynamic, Dynamic
		return r, nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		operand, mode, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			return r, fmt.Errorf("recipe %q: got %q, want delayed, dynamic, or operand:mode pairs such as i:del,w:del,go:del", s, part)
		}
		if seen[operand] {
			return r, fmt.Errorf("recipe %q: operand %q is named twice", s, operand)
		}
		seen[operand] = true
		m, err := parseMode(mode)
		if err != nil {
			return r, fmt.Errorf("recipe %q: operand %q: %w", s, operand, err)
		}
		switch operand {
		case "i":
			r.Input = m
		case "w":
			if m == Off {
				return r, fmt.Errorf("recipe %q: w:off leaves no float8 weight; use --exclude to keep a layer as it is", s)
			}
			r.Weight = m
		case "go":
			r.GradOutput = m
		default:
			return r, fmt.Errorf("recipe %q: operand %q: want i (input), w (weight) or go (gradient of the output)", s, operand)
		}
	}
	return r, nil
}

func parseMode(s string) (Mode, error) {
	switch s {
	case "del", "delayed":
		return Delayed, nil
	case "dyn", "dynamic":
		return Dynamic, nil
	case "off":
		return Off, nil
	}
	return 0, fmt.Errorf("mode: got %q, want del, dyn or off", s)
}

// Parse reads what String wrote.
func Parse(s string) (Recipe, error) {
	fields := strings.Fields(s)
	if len(fields) < 3 {
		return Recipe{}, fmt.Errorf("recipe %q: want modes, history length and amax compute, such as %q", s, DefaultRecipe())
	}
	r, err := Recipe{}.ParseModes(fields[0])
	if err != nil {
		return Recipe{}, err
	}
	if r.HistoryLen, err = number(fields[1], "h"); err != nil {
		return Recipe{}, fmt.Errorf("recipe %q: %w", s, err)
	}
	if r.Compute, err = ParseAmaxCompute(fields[2]); err != nil {
		return Recipe{}, fmt.Errorf("recipe %q: %w", s, err)
	}
	for _, f := range fields[3:] {
		switch {
		case f == "pow2":
			r.PowerOfTwo = true
		case f == "per-channel":
			r.PerChannel = true
		default:
			if r.Margin, err = number(f, "m"); err != nil {
				return Recipe{}, fmt.Errorf("recipe %q: %w", s, err)
			}
		}
	}
	return r, r.Check()
}

func number(s, prefix string) (int, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return 0, fmt.Errorf("got %q, want %s and a number", s, prefix)
	}
	return n, nil
}

// Check says what is out of range.
func (r Recipe) Check() error {
	switch {
	case r.HistoryLen < 1 || r.HistoryLen > MaxHistoryLen:
		return fmt.Errorf("history length: got %d, want 1 to %d", r.HistoryLen, MaxHistoryLen)
	case r.Margin < 0 || r.Margin > MaxMargin:
		return fmt.Errorf("margin: got %d, want 0 to %d", r.Margin, MaxMargin)
	}
	return nil
}
