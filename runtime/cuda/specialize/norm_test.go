package specialize

import (
	"testing"
)

const normHead = `
in x float32 2 3 8
w float32 8
b float32 8
w3 float32 1 1 8
two float32 = 2
twoi int64 = 2
one float32 = 1
half float32 = 0.5
minushalf float32 = -0.5
eps float32 = 0.001
eps1 float32 1 = 0.001
last int64 1 = -1
pos int64 1 = 2
mid int64 1 = 1
lasttwo int64 2 = 2 -2
out y
`

func TestRMSNormalizationInItsSpellings(t *testing.T) {
	core := "Pow x two -> q\nReduceMean q last -> m\nAdd m eps -> s\n"
	for name, lines := range map[string]string{
		"Reciprocal of Sqrt":      core + "Sqrt s -> d\nReciprocal d -> r\nMul x r -> n\nMul n w -> y",
		"operands the other way":  core + "Sqrt s -> d\nReciprocal d -> r\nMul r x -> n\nMul w n -> y",
		"Div":                     core + "Sqrt s -> d\nDiv x d -> n\nMul w n -> y",
		"one by Sqrt":             core + "Sqrt s -> d\nDiv one d -> r\nMul x r -> n\nMul w n -> y",
		"Pow -1/2":                core + "Pow s minushalf -> r\nMul x r -> n\nMul w n -> y",
		"Pow 1/2":                 core + "Pow s half -> d\nDiv x d -> n\nMul w n -> y",
		"Mul x x":                 "Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y",
		"integer power":           "Pow x twoi -> q\nReduceMean q pos -> m\nAdd eps1 m -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y",
		"a weight of three axes":  core + "Sqrt s -> d\nDiv x d -> n\nMul n w3 -> y",
		"without a weight":        core + "Sqrt s -> d\nDiv x d -> y",
		"weight with another use": core + "Sqrt s -> d\nDiv x d -> n\nMul n w -> y\nIdentity w -> w2\nout w2",
		"negative axes":           "Mul x x -> q\nReduceMean q lasttwo -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w38 -> y\nw38 float32 3 8",
	} {
		t.Run(name, func(t *testing.T) {
			becomes(t, text(t, normHead+lines), "RMSNormalization 1")
		})
	}
}

func TestWhatIsAlmostAnRMSNormalization(t *testing.T) {
	for name, c := range map[string][2]string{
		"another power":   {"Pow x three -> q\nReduceMean q last -> m\nAdd m eps -> s\nAbs s -> a\nSqrt a -> d\nDiv x d -> n\nMul n w -> y\nthree float32 = 3", "Abs 1, Add 1, Div 1, Mul 1, Pow 1, ReduceMean 1, Sqrt 1"},
		"a sum":           {"Mul x x -> q\nReduceSum q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y", "Add 1, Div 1, Mul 2, ReduceSum 1, Sqrt 1"},
		"an inner axis":   {"Mul x x -> q\nReduceMean q mid -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y", "Add 1, Div 1, Mul 2, ReduceMean 1, Sqrt 1"},
		"of another":      {"Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nAbs x -> z\nDiv z d -> n\nMul n w -> y", "Abs 1, Add 1, Div 1, Mul 2, ReduceMean 1, Sqrt 1"},
		"read in between": {"Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y\nNeg m -> z\nout z", "Add 1, Div 1, Mul 2, Neg 1, ReduceMean 1, Sqrt 1"},
		"an epsilon of data": {"Mul x x -> q\nReduceMean q last -> m\nAdd m e -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y\nReduceMax q last -> e",
			"Add 1, Div 1, Mul 2, ReduceMax 1, ReduceMean 1, Sqrt 1"},
		"a weight by row":  {"Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n rows -> y\nrows float32 3 1", "Mul 1, RMSNormalization 1"},
		"a weight of more": {"Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n more -> y\nmore float32 5 1 1 8", "Mul 1, RMSNormalization 1"},
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, normHead+c[0]), c[1]) })
	}
}

func TestNormalizationInFloat32OfANarrowValue(t *testing.T) {
	becomes(t, text(t, `
in x bfloat16 2 3 8
w bfloat16 8
two float32 = 2
eps float32 = 0.001
last int64 1 = -1
out y
Cast x -> x32 to=1
Pow x32 two -> q
ReduceMean q last -> m
Add m eps -> s
Sqrt s -> d
Reciprocal d -> r
Mul x32 r -> n
Cast n -> n16 to=16
Mul w n16 -> y`), "RMSNormalization 1")
}

func TestLayerNormalizationInItsSpellings(t *testing.T) {
	core := "ReduceMean x last -> mean\nSub x mean -> c\n"
	for name, lines := range map[string]string{
		"Pow":             core + "Pow c two -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> n\nMul n w -> v\nAdd v b -> y",
		"Mul c c":         core + "Mul c c -> q\nReduceMean q pos -> m\nAdd m eps -> s\nSqrt s -> d\nReciprocal d -> r\nMul r c -> n\nMul w n -> v\nAdd b v -> y",
		"computed twice":  core + "Pow c two -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nSub x mean -> c2\nDiv c2 d -> n\nMul n w -> v\nAdd v b -> y",
		"without a bias":  core + "Mul c c -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> n\nMul n w -> y",
		"without weights": core + "Mul c c -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> y",
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, normHead+lines), "LayerNormalization 1") })
	}
	for name, c := range map[string][2]string{
		"another mean":            {"ReduceMax x last -> mean\nSub x mean -> c\nMul c c -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> n\nMul n w -> y", "RMSNormalization 1, ReduceMax 1, Sub 1"},
		"the mean read elsewhere": {core + "Mul c c -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> n\nMul n w -> y\nNeg mean -> z\nout z", "Neg 1, RMSNormalization 1, ReduceMean 1, Sub 1"},
		"mean over other axes":    {"ReduceMean x lasttwo -> mean\nSub x mean -> c\nMul c c -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv c d -> n\nMul n w -> y", "RMSNormalization 1, ReduceMean 1, Sub 1"},
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, normHead+c[0]), c[1]) })
	}
}

// Two norms of one value share what stands before their weights, when all that is equal is shared.
func TestNormsOfOneValue(t *testing.T) {
	becomes(t, text(t, normHead+"v float32 8 = 3\nout z\nMul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y\n"+
		"Mul x x -> q2\nReduceMean q2 last -> m2\nAdd m2 eps -> s2\nSqrt s2 -> d2\nDiv x d2 -> n2\nMul n2 v -> z"), "RMSNormalization 2")
}

// What another reads, or what is to be kept, must stay to be seen.
func TestAKeptValueIsNotFusedOver(t *testing.T) {
	m := text(t, normHead+"Mul x x -> q\nReduceMean q last -> m\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> y")
	if got := counts(specialized(t, m, inputsOf(t, m), Options{Keep: []string{"n"}}).Model); got != "Mul 1, RMSNormalization 1" {
		t.Error(got)
	}
	st := specialized(t, m, inputsOf(t, m), Options{Keep: []string{"m"}})
	if got := counts(st.Model); got != "Add 1, Div 1, Mul 2, ReduceMean 1, Sqrt 1" {
		t.Error(got)
	}
	if o := st.Model.Graph.Outputs; len(o) != 2 || o[1].Name != "m" {
		t.Errorf("outputs %v", o)
	}
}

func TestAModelThatCannotBeLiftedUsesNoNewerOperators(t *testing.T) {
	m := text(t, normHead+"Mul x x -> q\nReduceMean q -> m axes=-1,\nAdd m eps -> s\nSqrt s -> d\nDiv x d -> n\nMul n w -> v\nThing v -> y")
	m.SetOpset("", 17)
	st := specialized(t, m, inputsOf(t, m))
	if got := counts(st.Model); got != "Add 1, Div 1, Mul 2, ReduceMean 1, Sqrt 1, Thing 1" || st.Model.OpsetVersion("") != 17 {
		t.Error(got, st.Model.OpsetVersion(""))
	}
	m.Graph.Nodes[6].OpType = "Neg"
	st = specialized(t, m, inputsOf(t, m))
	if got := counts(st.Model); got != "Neg 1, RMSNormalization 1" || st.Model.OpsetVersion("") != 23 {
		t.Error(got, st.Model.OpsetVersion(""))
	}
}
