package specialize

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

const attentionHead = `
in q float32 2 4 5 8
in k float32 2 4 5 8
in v float32 2 4 5 8
scale float32 = 0.3
inverse float32 = 3
small float32 = 0.5477226
zero float32 = 0
far float32 = -3.4028235e38
inf float32 = -inf
near float32 = -5
out y
`

// causal makes masks of 5 by 5: a condition and what is added, far or -Inf beyond the diagonal.
const causal = "n int64 = 5\nz int64 = 0\none int64 = 1\nRange z n one -> i\nfirst int64 1 = 0\nsecond int64 1 = 1\nUnsqueeze i first -> row\nUnsqueeze i second -> column\n" +
	"LessOrEqual row column -> seen\nNot seen -> unseen\nWhere seen zero far -> mask\nWhere seen zero inf -> infmask\nWhere seen zero near -> weak\n"

const keys = "Transpose k -> kt perm=0,1,3,2\n"

// foundAttention is the attention of a static model.
func foundAttention(st *Static) *graph.Node {
	for _, n := range st.Model.Graph.Nodes {
		if n.OpType == "Attention" {
			return n
		}
	}
	return nil
}

func TestAttentionInItsSpellings(t *testing.T) {
	for name, c := range map[string]struct {
		lines, left, mask string
	}{
		"scale by Mul":             {keys + "MatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p axis=-1\nMatMul p v -> y", "Attention 1", ""},
		"scale by Div":             {keys + "MatMul q kt -> s\nDiv s inverse -> t\nSoftmax t -> p\nMatMul p v -> y", "Attention 1", ""},
		"no scale":                 {keys + "MatMul q kt -> s\nSoftmax s -> p axis=3\nMatMul p v -> y", "Attention 1", ""},
		"scale on q":               {keys + "Mul q scale -> qs\nMatMul qs kt -> s\nSoftmax s -> p\nMatMul p v -> y", "Attention 1", ""},
		"scale on both":            {keys + "Mul q small -> qs\nMul kt small -> ks\nMatMul qs ks -> s\nSoftmax s -> p\nMatMul p v -> y", "Attention 1", ""},
		"scale on k":               {"Mul k scale -> ks\nTranspose ks -> kt perm=0,1,3,2\nMatMul q kt -> s\nSoftmax s -> p\nMatMul p v -> y", "Attention 1", ""},
		"causal":                   {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t mask -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "causal"},
		"causal with -Inf":         {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd infmask t -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "causal"},
		"causal by Where":          {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere seen t far -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "causal"},
		"causal by Where not":      {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere unseen inf t -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "causal"},
		"causal for each batch":    {causal + "four int64 4 = 2 1 5 5\nExpand mask four -> m4\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t m4 -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "causal"},
		"a mask of zeros":          {"m float32 1 1 5 5 = 0\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t m -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", ""},
		"a weak mask":              {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t weak -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "float32[5,5]"},
		"a constant for each head": {"m float32 4 5 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t m -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "float32[4,5,5]"},
		"a mask of data":           {"in m float32 2 1 1 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t m -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "float32[2,1,1,5]"},
		"a condition of data":      {"in m bool 2 1 5 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere m t inf -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1", "bool[2,1,5,5]"},
		"a condition against":      {"in m bool 2 1 5 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere m inf t -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1, Not 1", "bool[2,1,5,5]"},
		"a condition, far":         {"in m bool 2 1 5 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere m far t -> u\nSoftmax u -> p\nMatMul p v -> y", "Attention 1, Where 1", "float32[2,1,5,5]"},
		"causal and data":          {causal + "in m float32 2 1 1 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nWhere seen t inf -> u\nAdd u m -> w\nSoftmax w -> p\nMatMul p v -> y", "Attention 1", "causal float32[2,1,1,5]"},
		"causal, far, and data":    {causal + "in m float32 2 1 1 5\n" + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t mask -> u\nAdd u m -> w\nSoftmax w -> p\nMatMul p v -> y", "Add 1, Attention 1", "float32[2,1,5,5]"},
		"k from other axes":        {"in kk float32 2 5 4 8\nTranspose kk -> kt perm=0,2,3,1\nMatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v -> y", "Attention 1, Transpose 1", ""},
		"k as it is":               {"in kt float32 2 4 8 5\nMatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v -> y", "Attention 1, Transpose 1", ""},
		"heads that are shared": {"in k2 float32 2 2 5 8\nin v2 float32 2 2 5 8\ntwo int64 1 = 2\nfive int64 5 = 2 2 2 5 8\nfour int64 4 = 2 4 5 8\nUnsqueeze k2 two -> k5\nExpand k5 five -> ke\nReshape ke four -> kr\n" +
			"Unsqueeze v2 two -> v5\nExpand v5 five -> ve\nReshape ve four -> vr\nTranspose kr -> kt perm=0,1,3,2\nMatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p vr -> y", "Attention 1", ""},
		"three axes": {"in q3 float32 6 5 8\nin k3 float32 6 7 8\nin v3 float32 6 7 4\nTranspose k3 -> kt perm=0,2,1\nMatMul q3 kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v3 -> y",
			"Attention 1, Reshape 1, Unsqueeze 3", ""},
		"three axes, causal": {causal + "in q3 float32 6 5 8\nin k3 float32 6 5 8\nin v3 float32 6 5 4\nTranspose k3 -> kt perm=0,2,1\nMatMul q3 kt -> s\nMul s scale -> t\nAdd t mask -> u\nSoftmax u -> p\nMatMul p v3 -> y",
			"Attention 1, Reshape 1, Unsqueeze 3", "causal"},
		"three axes, mask of data": {"in q3 float32 6 5 8\nin k3 float32 6 5 8\nin v3 float32 6 5 4\nin m float32 6 5 5\nTranspose k3 -> kt perm=0,2,1\nMatMul q3 kt -> s\nMul s scale -> t\nAdd t m -> u\nSoftmax u -> p\nMatMul p v3 -> y",
			"Attention 1, Reshape 1, Unsqueeze 4", "float32[6,1,5,5]"},
		"guarded, causal": {causal + keys + "MatMul q kt -> s\nMul s scale -> t\nAdd t infmask -> u\nSoftmax u -> p0\nIsNaN p0 -> nan\nWhere nan zero p0 -> p\nMatMul p v -> y",
			"Attention 1", "causal"},
		"guarded, of data": {"in m bool 2 1 5 5\nr bool 5 1 = 1 0 1 1 0\nAnd m r -> c\nWhere c zero inf -> mask\n" + keys +
			"MatMul q kt -> s\nMul s scale -> t\nAdd t mask -> u\nSoftmax u -> p0\nIsNaN p0 -> nan\nWhere nan zero p0 -> p\nMatMul p v -> y",
			"And 1, Attention 1, Cast 2, Not 1, Or 1, ReduceMax 1, Where 1", "bool[2,1,5,5]"},
		"guarded, constant": {"m bool 5 5 = 1 0 0 0 1 0 1 1 0 0 0 0 1 0 0 0 0 1 1 1 1 1 1 1 1\n" + keys +
			"MatMul q kt -> s\nMul s scale -> t\nWhere m t inf -> u\nSoftmax u -> p0\nIsNaN p0 -> nan\nWhere nan zero p0 -> p\nMatMul p v -> y",
			"Attention 1", "bool[5,5]"},
		"guarded, constant, with empty rows": {"m bool 5 5 = 1 0 0 0 1 0 0 0 0 0 0 0 1 0 0 0 0 1 1 1 1 1 1 1 1\n" + keys +
			"MatMul q kt -> s\nMul s scale -> t\nWhere m t inf -> u\nSoftmax u -> p0\nIsNaN p0 -> nan\nWhere nan zero p0 -> p\nMatMul p v -> y",
			"Attention 1, Where 1", "bool[5,5]"},
		"an operator with a causal mask":      {causal + "Attention q k v mask -> y", "Attention 1", "causal"},
		"an operator with a causal condition": {causal + "Attention q k v seen -> y", "Attention 1", "causal"},
		"an operator with another mask":       {causal + "Attention q k v weak -> y", "Attention 1", "float32[5,5]"},
		"an operator with heads that are shared": {"in k2 float32 2 2 5 8\nin v2 float32 2 2 5 8\ntwo int64 1 = 2\nfive int64 5 = 2 2 2 5 8\nfour int64 4 = 2 4 5 8\nUnsqueeze k2 two -> k5\nExpand k5 five -> ke\nReshape ke four -> kr\n" +
			"Unsqueeze v2 two -> v5\nExpand v5 five -> ve\nReshape ve four -> vr\nAttention q kr vr -> y", "Attention 1", ""},
		"an operator with a mask of zeros": {"m float32 5 5 = 0\nAttention q k v m -> y", "Attention 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := text(t, attentionHead+c.lines)
			unread(m)
			st := becomes(t, m, c.left)
			n := foundAttention(st)
			if n == nil {
				t.Fatal("no attention")
			}
			var mask []string
			if n.AttrInt("is_causal", 0) != 0 {
				mask = append(mask, "causal")
			}
			if n.Input(3) != "" {
				typ := st.Types[n.Input(3)]
				mask = append(mask, fmt.Sprintf("%s%s", typ.DType, extents(typ)))
			}
			if got := strings.Join(mask, " "); got != c.mask {
				t.Errorf("mask %q, want %q", got, c.mask)
			}
			if strings.Contains(name, "shared") && st.Types[n.Input(1)].Shape[1].Value != 2 {
				t.Errorf("keys have %v", st.Types[n.Input(1)])
			}
		})
	}
}

// unread drops inputs that no node reads.
func unread(m *graph.Model) {
	read := map[string]bool{}
	for _, n := range m.Graph.Nodes {
		for _, in := range n.Inputs {
			read[in] = true
		}
	}
	var in []*graph.Value
	for _, v := range m.Graph.Inputs {
		if read[v.Name] {
			in = append(in, v)
		}
	}
	m.Graph.Inputs = in
}

func TestWhatIsAlmostAttention(t *testing.T) {
	for name, c := range map[string][2]string{
		"Softmax of another axis": {keys + "MatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p axis=2\nMatMul p v -> y", "MatMul 2, Mul 1, Softmax 1, Transpose 1"},
		"scaled after the mask":   {causal + keys + "MatMul q kt -> s\nAdd s weak -> u\nMul u scale -> t\nSoftmax t -> p\nMatMul p v -> y", "Add 1, MatMul 2, Mul 1, Softmax 1, Transpose 1"},
		"a negative scale":        {"neg float32 = -1\n" + keys + "MatMul q kt -> s\nMul s neg -> t\nSoftmax t -> p\nMatMul p v -> y", "MatMul 2, Mul 1, Softmax 1, Transpose 1"},
		"probabilities read":      {keys + "MatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v -> y\nNeg p -> z\nout z", "MatMul 2, Mul 1, Neg 1, Softmax 1, Transpose 1"},
		"probabilities put out":   {keys + "MatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v -> y\nout p", "MatMul 2, Mul 1, Softmax 1, Transpose 1"},
		"k for all batches":       {"in k1 float32 1 4 8 5\nMatMul q k1 -> s\nSoftmax s -> p\nMatMul p v -> y", "MatMul 2, Softmax 1"},
		"a bias of each query":    {"in m float32 5 1\n" + keys + "MatMul q kt -> s\nAdd s m -> t\nSoftmax t -> p\nMatMul p v -> y", "Add 1, MatMul 2, Softmax 1, Transpose 1"},
		"a condition that hides little": {"in m bool 2 1 5 5\n" + keys + "MatMul q kt -> s\nWhere m s near -> t\nSoftmax t -> p\nMatMul p v -> y",
			"MatMul 2, Softmax 1, Transpose 1, Where 1"},
		"a condition that hides rows": {"m bool 5 5 = 0\n" + keys + "MatMul q kt -> s\nWhere m s far -> t\nSoftmax t -> p\nMatMul p v -> y",
			"MatMul 2, Softmax 1, Transpose 1, Where 1"},
		"guarded, a mask that is added": {"in m float32 2 1 5 5\n" + keys + "MatMul q kt -> s\nAdd s m -> t\nSoftmax t -> p0\nIsNaN p0 -> nan\nWhere nan zero p0 -> p\nMatMul p v -> y",
			"Add 1, IsNaN 1, MatMul 2, Softmax 1, Transpose 1, Where 1"},
		"guarded by another number": {keys + "MatMul q kt -> s\nSoftmax s -> p0\nIsNaN p0 -> nan\nWhere nan near p0 -> p\nMatMul p v -> y",
			"IsNaN 1, MatMul 2, Softmax 1, Transpose 1, Where 1"},
		"a scale of data":    {"in m float32 1\n" + keys + "MatMul q kt -> s\nMul s m -> t\nSoftmax t -> p\nMatMul p v -> y", "MatMul 2, Mul 1, Softmax 1, Transpose 1"},
		"a layer and logits": {"in h float32 2 5 8\nw float32 8 8\nMatMul h w -> s\nSoftmax s -> p\nMatMul p w -> y", "MatMul 2, Softmax 1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := text(t, attentionHead+c[0])
			unread(m)
			becomes(t, m, c[1])
		})
	}
}

// The diagonal belongs to what is seen, and one position more or less is another mask.
func TestAlmostCausalMasks(t *testing.T) {
	for name, row := range map[string]string{
		"without the diagonal": "Less row column -> hid\nWhere hid zero far -> m\n",
		"one beyond":           "Add column one -> c1\nLessOrEqual row c1 -> hid\nWhere hid zero far -> m\n",
		"the other triangle":   "GreaterOrEqual row column -> hid\nWhere hid zero far -> m\n",
		"not zero inside":      "Where seen small far -> m\n",
		"a window":             "Sub column row -> d\ntwo int64 = 2\nLess d two -> win\nAnd win seen -> hid\nWhere hid zero inf -> m\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := text(t, attentionHead+causal+row+keys+"MatMul q kt -> s\nMul s scale -> t\nAdd t m -> u\nSoftmax u -> p\nMatMul p v -> y")
			n := foundAttention(becomes(t, m, "Attention 1"))
			if n.AttrInt("is_causal", 0) != 0 || n.Input(3) == "" {
				t.Errorf("%v %v", n.Inputs, n.Attributes)
			}
		})
	}
}

func TestLargeHeadsStayProducts(t *testing.T) {
	m := text(t, attentionHead+keys+"MatMul q kt -> s\nMul s scale -> t\nSoftmax t -> p\nMatMul p v -> y")
	becomes(t, m, "Attention 1", Options{MaxHead: 8})
	becomes(t, m, "MatMul 2, Mul 1, Softmax 1, Transpose 1", Options{MaxHead: 7})
}

// A mask that is too large to be computed is known by the condition that it is made from.
func TestAMaskThatIsNotComputed(t *testing.T) {
	m := text(t, attentionHead+causal+keys+"MatMul q kt -> s\nMul s scale -> t\nAdd t mask -> u\nSoftmax u -> p\nMatMul p v -> y")
	n := foundAttention(becomes(t, m, "Attention 1", Options{MaxFold: 50}))
	if n.AttrInt("is_causal", 0) == 0 || n.Input(3) != "" {
		t.Errorf("%v %v", n.Inputs, n.Attributes)
	}
}

func TestAttentionOfNarrowValues(t *testing.T) {
	becomes(t, text(t, `
in q bfloat16 2 4 5 8
in k bfloat16 2 4 5 8
in v bfloat16 2 4 5 8
m bfloat16 5 5 = 0 -1e30 -1e30 -1e30 -1e30 0 0 -1e30 -1e30 -1e30 0 0 0 -1e30 -1e30 0 0 0 0 -1e30 0 0 0 0 0
scale bfloat16 = 0.25
out y
Transpose k -> kt perm=0,1,3,2
MatMul q kt -> s
Mul s scale -> t
Add t m -> u
Cast u -> wide to=1
Softmax wide -> p32
Cast p32 -> p to=16
MatMul p v -> y`), "Attention 1")
}
