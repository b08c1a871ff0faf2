package specialize

import "testing"

const geluHead = `
in x float32 2 16
half float32 = 0.5
one float32 = 1
two float32 = 2
three float32 = 3
root float32 = 1.4142135
inverse float32 = 0.70710677
a float32 = 0.7978846
k float32 = 0.044715
ak float32 = 0.0356774
wrong float32 = 0.0446
out y
`

func TestGeluInItsSpellings(t *testing.T) {
	for name, c := range map[string]struct{ lines, approximate string }{
		"torch":             {"Div x root -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y", "none"},
		"torch.onnx dynamo": {"Mul x inverse -> s\nErf s -> e\nAdd e one -> f\nMul half f -> g\nMul x g -> y", "none"},
		"half first":        {"Mul x half -> h\nMul x inverse -> s\nErf s -> e\nAdd one e -> f\nMul f h -> y", "none"},
		"Div by two":        {"Div x root -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nDiv g two -> y", "none"},
		"half and half":     {"Div x root -> s\nErf s -> e\nMul e half -> eh\nAdd eh half -> f\nMul x f -> y", "none"},
		"tanh with Pow": {"Pow x three -> q\nMul q k -> kq\nAdd x kq -> p\nMul p a -> t\nTanh t -> e\nAdd e one -> f\nMul x half -> h\nMul h f -> y",
			"tanh"},
		"tanh with Mul":      {"Mul x x -> q\nMul q x -> c\nMul c k -> kc\nAdd kc x -> p\nMul a p -> t\nTanh t -> e\nAdd one e -> f\nMul half f -> g\nMul x g -> y", "tanh"},
		"tanh by Horner":     {"Mul x x -> q\nMul q k -> kq\nAdd kq one -> i\nMul x a -> ax\nMul ax i -> t\nTanh t -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y", "tanh"},
		"tanh multiplied in": {"Mul x x -> q\nMul q x -> c\nMul c ak -> kc\nMul x a -> ax\nAdd kc ax -> t\nTanh t -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y", "tanh"},
	} {
		t.Run(name, func(t *testing.T) {
			st := becomes(t, text(t, geluHead+c.lines), "Gelu 1")
			if got := st.Model.Graph.Nodes[0].AttrString("approximate", ""); got != c.approximate {
				t.Errorf("approximate is %q, want %q", got, c.approximate)
			}
		})
	}
	t.Run("gated", func(t *testing.T) {
		becomes(t, text(t, geluHead+"in u float32 2 16\nDiv x root -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> z\nMul z u -> y"),
			"Gelu 1, Mul 1")
	})
	t.Run("of a product", func(t *testing.T) {
		becomes(t, text(t, geluHead+"in u float32 2 16\nMul x u -> v\nDiv v root -> s\nErf s -> e\nAdd e one -> f\nMul v f -> g\nMul g half -> y"),
			"Gelu 1, Mul 1")
	})
}

func TestWhatIsAlmostGelu(t *testing.T) {
	for name, c := range map[string][2]string{
		"another factor":   {"Div x root -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nMul g one -> y", "Add 1, Div 1, Erf 1, Mul 2"},
		"another argument": {"Div x two -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y", "Add 1, Div 1, Erf 1, Mul 2"},
		"another constant": {"Mul x x -> q\nMul q x -> c\nMul c wrong -> kc\nAdd kc x -> p\nMul a p -> t\nTanh t -> e\nAdd one e -> f\nMul half f -> g\nMul x g -> y",
			"Add 2, Mul 6, Tanh 1"},
		"another sum": {"Div x root -> s\nErf s -> e\nAdd e half -> f\nMul x f -> g\nMul g half -> y", "Add 1, Div 1, Erf 1, Mul 2"},
		"of another": {"in u float32 2 16\nDiv x root -> s\nErf s -> e\nAdd e one -> f\nMul u f -> g\nMul g half -> y",
			"Add 1, Div 1, Erf 1, Mul 2"},
		"the curve read elsewhere": {"Div x root -> s\nErf s -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y\nNeg e -> z\nout z",
			"Add 1, Div 1, Erf 1, Mul 2, Neg 1"},
		"a plain Tanh": {"Tanh x -> e\nAdd e one -> f\nMul x f -> g\nMul g half -> y", "Add 1, Mul 2, Tanh 1"},
	} {
		t.Run(name, func(t *testing.T) { becomes(t, text(t, geluHead+c[0]), c[1]) })
	}
}
