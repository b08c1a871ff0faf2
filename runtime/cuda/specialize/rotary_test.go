package specialize

import (
	"strings"
	"testing"
)

const rotaryHead = `
in x float32 2 3 5 8
from int64 1 = 0
mid int64 1 = 4
end int64 1 = 1000
axis int64 1 = 3
last int64 1 = -1
steps int64 1 = 1
minus float32 = -1
angles float32 1 5 4
out y
`

// whole tables [1, 5, 8] from the angles.
const rotaryTables = "Concat angles angles -> both axis=-1\nCos both -> cos1\nSin both -> sin1\none int64 1 = 1\nUnsqueeze cos1 one -> cos\nUnsqueeze sin1 one -> sin\n"

const turn = "Slice x from mid axis -> lo\nSlice x mid end last steps -> hi\nNeg hi -> neg\nConcat neg lo -> turned axis=-1\n"

func TestRotaryEmbeddingInItsSpellings(t *testing.T) {
	for name, c := range map[string][2]string{
		"Slice":                  {rotaryTables + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", "RotaryEmbedding 1"},
		"operands the other way": {rotaryTables + turn + "Mul cos x -> a\nMul sin turned -> b\nAdd b a -> y", "RotaryEmbedding 1"},
		"Split": {rotaryTables + "Split x -> lo hi axis=-1 num_outputs=2\nNeg hi -> neg\nConcat neg lo -> turned axis=3\nMul x cos -> a\nMul turned sin -> b\nAdd a b -> y",
			"RotaryEmbedding 1"},
		"Mul by -1":        {rotaryTables + strings.Replace(turn, "Neg hi", "Mul hi minus", 1) + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", "RotaryEmbedding 1"},
		"three axes":       {rotaryTables + turn + "Mul x cos1 -> a\nMul turned sin1 -> b\nAdd a b -> y", "RotaryEmbedding 1"},
		"a table by batch": {"cosh float32 2 1 5 4\nConcat cosh cosh -> cos axis=-1\nNeg cos -> sin\n" + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", "RotaryEmbedding 1"},
		"heads after positions": {"cosh float32 1 3 1 4\nConcat cosh cosh -> cos axis=-1\nNeg cos -> sin\n" + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y",
			"Reshape 2, RotaryEmbedding 1"},
		"halves": {"Cos angles -> c\nSin angles -> s\nSplit x -> lo hi axis=-1 num_outputs=2\nMul lo c -> a\nMul hi s -> b\nSub a b -> p\nMul hi c -> d\nMul lo s -> e\nAdd d e -> q\nConcat p q -> y axis=-1",
			"RotaryEmbedding 1"},
		"angles of data": {"in g float32 2 5 4\nConcat g g -> both axis=-1\nCos both -> cos1\nSin both -> sin1\none int64 1 = 1\nUnsqueeze cos1 one -> cos\nUnsqueeze sin1 one -> sin\n" + turn +
			"Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", "Concat 1, Cos 1, Reshape 2, RotaryEmbedding 1, Sin 1, Slice 2, Unsqueeze 2"},
		"a part of the head": {rotaryTables + "in whole float32 2 3 5 12\neight int64 1 = 8\nSlice whole from eight axis -> xr\nSlice whole eight end axis -> rest\n" + strings.ReplaceAll(turn, " x ", " xr ") +
			"Mul xr cos -> a\nMul turned sin -> b\nAdd a b -> r\nConcat r rest -> y axis=-1\n", "Concat 1, RotaryEmbedding 1, Slice 2"},
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, rotaryHead+c[0]), c[1]) })
	}
}

func TestWhatIsAlmostARotaryEmbedding(t *testing.T) {
	left := "Add 1, Concat 1, Mul 2, Neg 1, Slice 2"
	for name, c := range map[string][2]string{
		"tables of two halves":     {"cos float32 1 1 5 8\nsin float32 1 1 5 8\n" + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"turned the other way":     {rotaryTables + "Slice x from mid axis -> lo\nSlice x mid end axis -> hi\nNeg lo -> neg\nConcat hi neg -> turned axis=-1\nMul x cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"the second half negative": {rotaryTables + "Slice x from mid axis -> lo\nSlice x mid end axis -> hi\nNeg lo -> neg\nConcat neg hi -> turned axis=-1\nMul x cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"another x":                {rotaryTables + "in z float32 2 3 5 8\n" + turn + "Mul z cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"unequal halves":           {rotaryTables + strings.ReplaceAll(turn, "mid", "three") + "three int64 1 = 3\nMul x cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"read in between":          {rotaryTables + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y\nAbs turned -> z\nout z", "Abs 1, " + left},
		"a table by head":          {"cosh float32 1 3 5 4\nConcat cosh cosh -> cos axis=-1\nNeg cos -> sin\n" + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y", left},
		"angles of data, apart": {"in g float32 2 1 5 8\nCos g -> cos\nSin g -> sin\n" + turn + "Mul x cos -> a\nMul turned sin -> b\nAdd a b -> y",
			"Add 1, Concat 1, Cos 1, Mul 2, Neg 1, Sin 1, Slice 2"},
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, rotaryHead+c[0]), c[1]) })
	}
}
