package ops

import (
	"reflect"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

type attribute = graph.Attribute

func TestVariantsHaveDistinctNamesThatParseBack(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Variants() {
		name := v.FunctionName()
		if seen[name] {
			t.Errorf("%q names two variants", name)
		}
		seen[name] = true
		if got, ok := ParseVariant(name); !ok || got != v {
			t.Errorf("ParseVariant(%q) = %+v %v, want %+v", name, got, ok, v)
		}
	}
	if len(seen) != 14 {
		t.Errorf("%d variants, want 14: 9 pairs of modes, 5 of them with a dynamic scale", len(seen))
	}
	for _, name := range []string{"", "Linear", "Float8", "float8linear", "Float8LinearPowerOfTwo", "Float8LinearDynamicWeight", "Float8Linear "} {
		if v, ok := ParseVariant(name); ok {
			t.Errorf("ParseVariant(%q) = %+v, want none", name, v)
		}
	}
	if got := (Variant{PowerOfTwo: true}).FunctionName(); got != "Float8Linear" {
		t.Errorf("a stored scale and a power of two: %q, want Float8Linear, since the body makes no scale", got)
	}
}

func TestStateNamesComeApartAgain(t *testing.T) {
	if got, want := StateName("model.q_proj", InAmaxHistoryInput), "model.q_proj.fp8_amax_history_input"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := InWeight; i < NumInputs; i++ {
		for _, layer := range []string{"a", "", "odd.fp8_weight", "net/fc 1"} {
			if l, j, ok := ParseStateName(StateName(layer, i)); l != layer || j != i || !ok {
				t.Errorf("%q: got %q %d %v", StateName(layer, i), l, j, ok)
			}
		}
	}
	for _, name := range []string{"", "weight", "a.fp8_", "a.fp8_weights", "a.fp8_input", "a.fp8_weight_2", "fp8_weight"} {
		if l, i, ok := ParseStateName(name); ok {
			t.Errorf("%q: got %q %d, want no state", name, l, i)
		}
	}
}

func testLayer() Layer {
	return Layer{
		Name: "/fc1/MatMul", Variant: Variant{Input: InputDynamic},
		Input: "x", Weight: "w", ScaleInput: "si", ScaleWeight: "sw",
		AmaxHistoryInput: "hi", AmaxHistoryWeight: "hw", ScaleGradOutput: "sg", AmaxHistoryGradOutput: "hg", Initialized: "ini",
		Output: "y", AmaxInput: "a",
		Original: Original{Op: "Gemm", TransA: true, TransB: true, Alpha: 0.5, Beta: 2, ConstantLeft: true, Weight: "fc1.weight"},
		QuantMax: QuantMax(1),
	}
}

func TestALayerReadsBackAsItWasMade(t *testing.T) {
	want := testLayer()
	n := want.Node()
	if !IsFloat8Linear(n) {
		t.Fatal("the node is not a Float8Linear")
	}
	got, err := ReadLayer(n)
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	fields := reflect.ValueOf(want)
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			t.Errorf("field %s is zero in the test's layer: the round trip proves nothing for it", fields.Type().Field(i).Name)
		}
	}
}

func TestANodeWithoutStateAndAttributesHasTheDefaults(t *testing.T) {
	n := &graph.Node{OpType: "Float8Linear", Domain: Domain, Inputs: []string{"x", "w", "si", "sw"}, Outputs: []string{"y"}}
	l, err := ReadLayer(n)
	if err != nil {
		t.Fatal(err)
	}
	if l.Original != MatMul("") || l.QuantMax != 448 || l.Initialized != "" || l.AmaxInput != "" {
		t.Errorf("got %+v", l)
	}
}

func TestIsFloat8LinearWantsDomainAndName(t *testing.T) {
	for _, n := range []*graph.Node{
		{OpType: "Float8Linear"}, {OpType: "Float8Linear", Domain: "ai.onnx"}, {OpType: "Float8Conv", Domain: Domain}, {OpType: "MatMul"},
	} {
		if IsFloat8Linear(n) {
			t.Errorf("%q of %q taken for a Float8Linear", n.OpType, n.Domain)
		}
	}
}

func TestReadLayerNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(*graph.Node)
		want   string
	}{
		{"another domain", func(n *graph.Node) { n.Domain = "com.microsoft" }, "not a variant"},
		{"an unknown variant", func(n *graph.Node) { n.OpType = "Float8LinearX" }, "not a variant"},
		{"no weight", func(n *graph.Node) { n.Inputs[InWeight] = "" }, "input 1 (weight) is left out"},
		{"three inputs", func(n *graph.Node) { n.Inputs = n.Inputs[:3] }, "input 3 (scale_weight) is left out"},
		{"ten inputs", func(n *graph.Node) { n.Inputs = append(n.Inputs, "z") }, "10 inputs"},
		{"no output", func(n *graph.Node) { n.Outputs[0] = "" }, "output 0 (output) is left out"},
		{"an attribute of another kind", func(n *graph.Node) { n.SetAttr(graph.Str(AttrTransB, "yes")) }, `attribute "trans_b"`},
		{"a reference", func(n *graph.Node) { n.SetAttr(graph.Ref(AttrAlpha, "z", graph.AttrFloat)) }, `attribute "alpha"`},
		{"another op", func(n *graph.Node) { n.SetAttr(graph.Str(AttrOriginalOp, "Conv")) }, `got "Conv"`},
		{"no quant_max", func(n *graph.Node) { n.SetAttr(graph.Float(AttrQuantMax, 0)) }, `attribute "quant_max": got 0`},
		{"a large quant_max", func(n *graph.Node) { n.SetAttr(graph.Float(AttrQuantMax, 449)) }, `attribute "quant_max": got 449`},
	} {
		n := testLayer().Node()
		c.damage(n)
		_, err := ReadLayer(n)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"/fc1/MatMul"`) {
			t.Errorf("%s: got %v, want the node's name and %q", c.name, err, c.want)
		}
	}
}

func TestDeclareAddsTheFunctionOnceAndForTheModelsOpset(t *testing.T) {
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Domain: "", Version: 19}}, Graph: &graph.Graph{}}
	for range 2 {
		for _, v := range []Variant{{}, {Input: InputDynamic}} {
			if _, err := Declare(m, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(m.Functions) != 2 || m.OpsetVersion(Domain) != Version {
		t.Fatalf("%d functions, domain at version %d", len(m.Functions), m.OpsetVersion(Domain))
	}
	foreign := &graph.Function{Domain: Domain, Name: Variant{}.FunctionName(), Opsets: []graph.Opset{{Version: 19}}}
	m.Functions[0] = foreign
	if _, err := Declare(m, Variant{}); err != nil || m.Functions[0] == foreign {
		t.Errorf("a body that nothing calls was kept for new nodes (%v)", err)
	}
	m.Graph.Nodes = []*graph.Node{{Domain: Domain, OpType: Variant{}.FunctionName()}}
	first := m.Functions[0]
	if _, err := Declare(m, Variant{}); err != nil || m.Functions[0] != first {
		t.Errorf("a function for the right opset was replaced (%v)", err)
	}
	m.SetOpset("", 21)
	if _, err := Declare(m, Variant{}); err != nil || m.Functions[0].OpsetVersion("") != 21 {
		t.Errorf("after a lift the function imports opset %d, want 21 (%v)", m.Functions[0].OpsetVersion(""), err)
	}
}

func TestDeclareRefusesAModelThatCannotHoldFloat8(t *testing.T) {
	for _, c := range []struct {
		m    *graph.Model
		want string
	}{
		{&graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 18}}}, "opset 18"},
		{&graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Version: 19}}}, "IR version 8"},
		{&graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}, {Domain: Domain, Version: 2}}}, "at version 2"},
	} {
		_, err := Declare(c.m, Variant{})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(c.m.Functions) != 0 {
			t.Errorf("got %v and %d functions, want %q and none", err, len(c.m.Functions), c.want)
		}
	}
}

func TestDropUnusedKeepsWhatIsCalled(t *testing.T) {
	inner := testLayer().Node()
	other := &graph.Function{Domain: "their", Name: "Float8Linear"}
	branch := &graph.Node{OpType: "If", Attributes: []*graph.Attribute{{Name: "then_branch", Kind: graph.AttrGraph, Graph: &graph.Graph{Nodes: []*graph.Node{inner}}}}}
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}}, Graph: &graph.Graph{Nodes: []*graph.Node{branch}}, Functions: []*graph.Function{other}}
	for _, v := range []Variant{{}, {Input: InputDynamic}} {
		if _, err := Declare(m, v); err != nil {
			t.Fatal(err)
		}
	}
	DropUnused(m)
	if len(m.Functions) != 2 || m.Functions[0] != other || m.Functions[1].Name != "Float8LinearDynamic" || m.OpsetVersion(Domain) != Version {
		t.Fatalf("functions %v", m.Functions)
	}
	m.Graph.Nodes = nil
	DropUnused(m)
	if len(m.Functions) != 1 || m.OpsetVersion(Domain) != 0 || m.OpsetVersion("") != 19 {
		t.Errorf("after the last call went: %d functions, opsets %v", len(m.Functions), m.Opsets)
	}
}
