package scaling

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestRecipeStringReadsBack(t *testing.T) {
	for _, s := range []string{
		"i:del,w:del,go:del h16 max",
		"i:dyn,w:dyn,go:dyn h1 most_recent",
		"i:off,w:del,go:off h1024 max m3 pow2 per-channel",
	} {
		r, err := Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
		} else if r.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, r.String())
		}
	}
	if got, want := DefaultRecipe().String(), "i:del,w:del,go:del h16 max"; got != want {
		t.Errorf("DefaultRecipe() = %q, want %q", got, want)
	}
}

func TestParseModesKeepsWhatIsNotNamed(t *testing.T) {
	r, err := DefaultRecipe().ParseModes("i:off")
	if err != nil || r.Modes() != "i:off,w:del,go:del" {
		t.Errorf("got %q, %v", r.Modes(), err)
	}
}

func TestWrongRecipesAreRefused(t *testing.T) {
	for _, s := range []string{"", "fast", "i", "i:on", "x:del", "w:off", "i:del,i:dyn"} {
		if r, err := DefaultRecipe().ParseModes(s); err == nil {
			t.Errorf("ParseModes(%q) = %v, want an error", s, r)
		}
	}
	for _, s := range []string{"", "i:del h16 max", "i:del,w:del,go:del h0 max", "i:del,w:del,go:del 16 max",
		"i:del,w:del,go:del h16 mean", "i:del,w:del,go:del h16 max m99", "i:del,w:del,go:del h16 max fast"} {
		if r, err := Parse(s); err == nil && s != "i:del h16 max" {
			t.Errorf("Parse(%q) = %v, want an error", s, r)
		}
	}
}

func TestScaleIsTheQuotientWithinTwoUlp(t *testing.T) {
	r := DefaultRecipe()
	for range 100000 {
		amax := math.Float32frombits(rand.Uint32N(0x7E000000)) // the reciprocal of a larger one is subnormal
		if amax < Epsilon {
			continue
		}
		got, want := r.Scale(448, amax, 1), float32(448)/amax
		if d := int64(math.Float32bits(float32(got))) - int64(math.Float32bits(want)); d < -2 || d > 2 {
			t.Fatalf("Scale(448, %g) = %g, want %g: %d ulp apart", amax, got, want, d)
		}
	}
	if got, want := r.Scale(448, 1e-30, 1), r.Scale(448, Epsilon, 1); got != want {
		t.Errorf("a tiny amax: got %g, want %g", got, want)
	}
	// Step 0 of q_proj in the committed golden of the reference library: amax 3.58…, scale 125.08….
	if got, want := r.Scale(448, 3.5814688205718994, 1), QuantScale(125.08833312988281); got != want {
		t.Errorf("golden: got %v, want %v", got, want)
	}
}

func TestUnusableAmaxKeepsTheScale(t *testing.T) {
	for _, amax := range []float32{0, float32(math.NaN()), float32(math.Inf(1))} {
		if got := DefaultRecipe().Scale(448, amax, 7); got != 7 {
			t.Errorf("amax %v: got %v, want the old scale 7", amax, got)
		}
	}
}

func TestPowerOfTwoFloorsAndMarginHalves(t *testing.T) {
	r := Recipe{HistoryLen: 1, PowerOfTwo: true}
	for _, c := range []struct{ amax, want float32 }{{448, 1}, {449, 0.5}, {447, 1}, {224, 2}, {3, 128}, {3.5, 128}, {3.6, 64}} {
		if got := float32(r.Scale(448, c.amax, 1)); got != c.want {
			t.Errorf("amax %g: got %g, want %g", c.amax, got, c.want)
		}
	}
	m := Recipe{HistoryLen: 1, Margin: 3}
	if got := float32(m.Scale(448, 7, 1)); got != 8 {
		t.Errorf("margin 3: got %g, want 448/7/8 = 8", got)
	}
}

func TestDequantUndoesQuant(t *testing.T) {
	if got := QuantScale(128).Dequant(); got != 1.0/128 {
		t.Errorf("got %g", got)
	}
}
