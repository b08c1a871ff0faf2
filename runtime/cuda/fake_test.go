package cuda

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rig is the engine on a stand-in for a GPU, with programs made by hand: their steps copy, which the stand-in does, where kernels would
// compute. Graphs are told there and not replayed.
type rig struct {
	cuda    *drivertest.Library
	backend *Backend
	mu      sync.Mutex
	lowered int // programs made
	edit    func(h *hand)
}

// hand is a program made by hand: x float32[n] comes in, goes through the arena, and leaves as y. A weight of n elements leaves as w; the
// variable v, copied by Setup, as u. Beside that: a layer whose amax is variable v's bits, and a fault that is raised when fault is set.
type hand struct {
	st                *specialize.Static
	prog              *program.Program
	x, inner, y       *program.Tensor
	weight, w         *program.Tensor
	v, copied, u      *program.Tensor
	amax, flag        *program.Tensor
	n                 int64
	launched, settled *int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{cuda: drivertest.CUDA(t).Use(driver.EnvCUDA)}
	drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)
	r.backend = New(Options{Host: cpu.New()}).(*Backend)
	r.backend.lower = r.lower
	return r
}

func float32Type(n int64) *graph.Type {
	return &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: n}}}
}

// model is what the rig's programs are for.
func (r *rig) model() *graph.Model {
	m := &graph.Model{IRVersion: 10, Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", 21)
	g := m.Graph
	g.Inputs = []*graph.Value{{Name: "x", Type: &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: -1, Param: "n"}}}}}
	g.Initializers = []*graph.Initializer{{Name: "v", Tensor: tensor.Float32s(tensor.Shape{2}, 1, 2)},
		{Name: "same", Tensor: tensor.Float32s(tensor.Shape{2}, 1, 2)}, {Name: "weight", Tensor: tensor.Float32s(tensor.Shape{3}, 7, 8, 9)}}
	for _, io := range [][2]string{{"x", "y"}, {"weight", "w"}, {"v", "u"}, {"same", "unused"}} {
		g.Nodes = append(g.Nodes, &graph.Node{Name: "make_" + io[1], OpType: "Identity", Inputs: []string{io[0]}, Outputs: []string{io[1]}})
		if io[1] != "unused" {
			g.Outputs = append(g.Outputs, &graph.Value{Name: io[1], Type: &graph.Type{DType: tensor.Float32}})
		}
	}
	return m
}

func array(home program.Home, n int64) *program.Tensor {
	return &program.Tensor{Buffer: &program.Buffer{Home: home, Bytes: 4 * n}, T: kernels.F32, Dims: []int64{n}, Strides: []int64{1}}
}

// copyStep copies one array to another.
func copyStep(node string, dst, src *program.Tensor, count *int) program.Step {
	return program.Step{Node: node, Op: "Identity", Kernel: "copy", Launch: func(l *program.Launcher) error {
		*count++
		return l.Context.Copy(l.Addr(dst), l.Addr(src), src.Elements()*4, l.Stream)
	}}
}

func (r *rig) lower(_ context.Context, s *session, shapes map[string]tensor.Shape) (*specialize.Static, *program.Program, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lowered++
	n := shapes["x"][0]
	h := &hand{n: n, x: array(program.State, n), inner: array(program.Arena, n), y: array(program.State, n), weight: array(program.Weight, 3),
		w: array(program.State, 3), v: array(program.State, 2), copied: array(program.State, 2), u: array(program.State, 2),
		amax: array(program.State, 1), flag: array(program.State, 1), launched: new(int), settled: new(int)}
	source := s.model.Graph.Initializer("weight").Tensor
	h.weight.Buffer.Source, h.weight.Buffer.Form = source, "float32"
	h.weight.Buffer.Fill = func(dst []byte, offset int64) error {
		b, err := source.Bytes()
		copy(dst, b[offset:])
		return err
	}
	h.st = &specialize.Static{Model: s.model, Types: map[string]graph.Type{"y": *float32Type(n), "w": *float32Type(3), "u": *float32Type(2)}}
	h.prog = &program.Program{
		Setup: []program.Step{copyStep("setup", h.copied, h.v, h.settled)},
		Steps: []program.Step{copyStep("a", h.inner, h.x, h.launched), copyStep("make_y", h.y, h.inner, h.launched),
			copyStep("make_w", h.w, h.weight, h.launched), copyStep("make_u", h.u, h.copied, h.launched)},
		Inputs: []program.Transfer{{Name: "x", Tensor: h.x}}, Variables: []program.Transfer{{Name: "v", Tensor: h.v}},
		Outputs: []program.Transfer{{Name: "y", Tensor: h.y}, {Name: "w", Tensor: h.w}, {Name: "u", Tensor: h.u}},
		Weights: []*program.Buffer{h.weight.Buffer}, State: []*program.Buffer{h.y.Buffer, h.w.Buffer, h.copied.Buffer, h.u.Buffer},
		Arena: 4 * n, Cleared: []*program.Buffer{h.amax.Buffer, h.flag.Buffer}, Equal: [][]string{{"v", "same"}},
		Faults: []program.Fault{{Node: "make_y", Op: "Identity", Flag: h.flag, Message: "the flag was raised"}},
	}
	if r.edit != nil {
		r.edit(h)
	}
	return h.st, h.prog, nil
}

func (r *rig) open(t *testing.T, m *graph.Model, opt runtime.Options) *session {
	t.Helper()
	if opt.Variables == nil {
		opt.Variables = []string{"v", "same"}
	}
	s, err := r.backend.Open(t.Context(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s.(*session)
}

func numbers(from, n int) map[string]runtime.Value {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(from + i)
	}
	return map[string]runtime.Value{"x": runtime.FromTensor(tensor.Float32s(tensor.Shape{int64(n)}, v...))}
}

// wants holds an output against numbers.
func wants(t *testing.T, res *runtime.Result, name string, want ...float32) {
	t.Helper()
	v := res.Values[name].Tensor
	if v == nil {
		t.Errorf("no output %q", name)
		return
	}
	got, err := v.AsFloat32s()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v (%v)", name, got, want, err)
	}
}

func count(log []string, prefix string) int {
	n := 0
	for _, line := range log {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func TestARunByLaunches(t *testing.T) {
	r := newRig(t)
	s := r.open(t, r.model(), runtime.Options{})
	s.launchOnly = true
	for from := range 3 {
		res, err := s.Run(t.Context(), numbers(from, 3))
		if err != nil {
			t.Fatal(err)
		}
		wants(t, res, "y", float32(from), float32(from+1), float32(from+2))
		wants(t, res, "w", 7, 8, 9)
		wants(t, res, "u", 1, 2)
	}
	if r.lowered != 1 {
		t.Errorf("%d programs were made, want 1", r.lowered)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if used := r.cuda.Used(); used != lt.DefaultWorkspace {
		t.Errorf("%d bytes are left on the GPU", used)
	}
	if _, err := s.Run(t.Context(), numbers(0, 3)); !errors.Is(err, errClosed) {
		t.Errorf("a closed session: %v", err)
	}
}

func TestTheSecondRunIsRecordedAndTheThirdReplayed(t *testing.T) {
	r := newRig(t)
	var h *hand
	r.edit = func(made *hand) { h = made }
	s := r.open(t, r.model(), runtime.Options{})
	var captured, replayed, launched []int
	for range 4 {
		r.cuda.Forget()
		if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
			t.Fatal(err)
		}
		log := r.cuda.Log()
		captured, replayed = append(captured, count(log, "cuStreamBeginCapture")), append(replayed, count(log, "cuGraphLaunch"))
		launched = append(launched, *h.launched)
		if n := count(log, "cuStreamSynchronize"); n > 3 {
			t.Errorf("%d waits in a run", n)
		}
	}
	if !slices.Equal(captured, []int{0, 1, 0, 0}) || !slices.Equal(replayed, []int{0, 1, 1, 1}) || !slices.Equal(launched, []int{4, 8, 8, 8}) {
		t.Errorf("recorded %v, replayed %v, launches %v", captured, replayed, launched)
	}
	if *h.settled != 1 {
		t.Errorf("setup ran %d times, want once", *h.settled)
	}
}

func TestOtherShapesHaveProgramsOfTheirOwnAndShareMemory(t *testing.T) {
	r := newRig(t)
	s := r.open(t, r.model(), runtime.Options{})
	for _, n := range []int{3, 5, 3, 5, 3} {
		if _, err := s.Run(t.Context(), numbers(0, n)); err != nil {
			t.Fatal(err)
		}
	}
	if r.lowered != 2 || len(s.mem.weights) != 1 {
		t.Errorf("%d programs with %d weights, want 2 with 1", r.lowered, len(s.mem.weights))
	}
	// A larger one moves the arena: what was recorded over the old one is recorded again.
	r.cuda.Forget()
	for _, n := range []int{1000, 3, 5} {
		if _, err := s.Run(t.Context(), numbers(0, n)); err != nil {
			t.Fatal(err)
		}
	}
	if log := r.cuda.Log(); count(log, "cuGraphExecDestroy") != 2 || count(log, "cuStreamBeginCapture") != 2 {
		t.Errorf("after the arena moved: %d graphs dropped, %d recorded, want 2 and 2", count(log, "cuGraphExecDestroy"), count(log, "cuStreamBeginCapture"))
	}
	s.launchOnly = true
	res, err := s.Run(t.Context(), numbers(4, 5))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, res, "y", 4, 5, 6, 7, 8)
	for n := 1; n < 2*mostPrograms; n++ {
		if _, err := s.Run(t.Context(), numbers(0, n)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.programs) != mostPrograms {
		t.Errorf("%d programs are kept, want %d", len(s.programs), mostPrograms)
	}
}

func TestPlansAreBoundedAndCanBeInterrupted(t *testing.T) {
	r := newRig(t)
	s := r.open(t, r.model(), runtime.Options{})
	if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
		t.Fatal(err)
	}
	shapes := func(n int64) map[string]tensor.Shape { return map[string]tensor.Shape{"x": {n}} }
	for n := range int64(100) {
		p, err := s.Plan(shapes(4 + n))
		if want := 2*aligned(4*(4+n)) + 4*(4+n); err != nil || p.Activations < want || p.Scratch != lt.DefaultWorkspace {
			t.Fatalf("%d numbers: %+v (%v), want at least %d bytes of activations", 4+n, p, err, want)
		}
	}
	if len(s.programs) != mostPrograms || len(s.resident) != 0 {
		t.Errorf("%d programs are kept, %d of them on the GPU; want %d, and none", len(s.programs), len(s.resident), mostPrograms)
	}
	if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	other, err := r.backend.Open(ctx, r.model(), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	made := r.backend.lower
	r.backend.lower = func(ctx context.Context, s *session, shapes map[string]tensor.Shape) (*specialize.Static, *program.Program, error) {
		cancel()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		return made(ctx, s, shapes)
	}
	if _, err := other.Plan(shapes(3)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := other.Plan(shapes(3)); err != nil {
		t.Errorf("after what it was opened with has ended: %v", err)
	}
}

func TestSetReachesTheGPU(t *testing.T) {
	r := newRig(t)
	var h *hand
	r.edit = func(made *hand) { h = made }
	s := r.open(t, r.model(), runtime.Options{})
	s.launchOnly = true
	set := func(name string, v ...float32) {
		t.Helper()
		x := tensor.Float32s(tensor.Shape{int64(len(v))}, v...)
		if err := s.Set(name, x); err != nil {
			t.Fatal(err)
		}
		b, _ := x.Bytes()
		clear(b) // what the session was given is the caller's
	}
	run := func(want ...float32) {
		t.Helper()
		for range 2 {
			res, err := s.Run(t.Context(), numbers(0, 3))
			if err != nil {
				t.Fatal(err)
			}
			wants(t, res, "u", want...)
		}
	}
	run(1, 2)
	set("v", 5, 6)
	set("same", 5, 6)
	run(5, 6)
	if r.lowered != 1 || *h.settled != 2 {
		t.Errorf("%d programs, setup ran %d times; want one, and twice", r.lowered, *h.settled)
	}
	// The program took two variables for one: now they differ.
	set("same", 5, 7)
	run(5, 6)
	if r.lowered != 2 {
		t.Errorf("%d programs, want another one", r.lowered)
	}
	for name, bad := range map[string]*tensor.Tensor{"v": tensor.Float32s(tensor.Shape{1}, 1), "same": tensor.Int64s(tensor.Shape{2}, 1, 2),
		"weight": tensor.Float32s(tensor.Shape{3}, 1, 2, 3), "nobody": nil} {
		if s.Set(name, bad) == nil {
			t.Errorf("variable %q took %v", name, bad)
		}
	}
	run(5, 6)
}

func TestTheHostRunsSegments(t *testing.T) {
	r := newRig(t)
	// z = relu(x) is the host's; what it makes goes back to the GPU, and v stays there.
	seg := &program.Segment{Model: &graph.Model{IRVersion: 10, Graph: &graph.Graph{Name: "segment"}}}
	seg.Model.SetOpset("", 21)
	g := seg.Model.Graph
	g.Inputs = []*graph.Value{{Name: "inner", Type: float32Type(3)}, {Name: "v", Type: float32Type(2)}}
	g.Nodes = []*graph.Node{{Name: "relu", OpType: "Relu", Inputs: []string{"inner"}, Outputs: []string{"z"}},
		{Name: "neg", OpType: "Neg", Inputs: []string{"v"}, Outputs: []string{"u"}}}
	g.Outputs = []*graph.Value{{Name: "z", Type: float32Type(3)}, {Name: "u", Type: float32Type(2)}}
	r.edit = func(h *hand) {
		seg.In, seg.Out = []program.Transfer{{Name: "inner", Tensor: h.inner}}, []program.Transfer{{Name: "z", Tensor: h.inner}}
		h.prog.Steps = slices.Insert(h.prog.Steps, 1, program.Step{Node: "relu", Op: "Relu", Kernel: "cpu", Segment: seg})
		h.prog.Outputs[2].Tensor = nil
		h.prog.Placed = []runtime.Placement{{Node: "relu", Op: "Relu", Where: "cpu", Why: "a test"}}
	}
	s := r.open(t, r.model(), runtime.Options{})
	s.launchOnly = true
	for range 3 {
		res, err := s.Run(t.Context(), numbers(-1, 3))
		if err != nil {
			t.Fatal(err)
		}
		wants(t, res, "y", 0, 0, 1)
		wants(t, res, "u", -1, -2)
	}
	if p := s.Placements(); len(p) != 1 || p[0].Node != "relu" {
		t.Errorf("placements %+v", p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, numbers(-1, 3)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// Stretches around a segment are recorded one by one.
	s.launchOnly = false
	r.cuda.Forget()
	if _, err := s.Run(t.Context(), numbers(-1, 3)); err != nil {
		t.Fatal(err)
	}
	if n := count(r.cuda.Log(), "cuStreamBeginCapture"); n != 2 {
		t.Errorf("%d recordings, want 2", n)
	}
	prof, err := s.Profile(t.Context(), numbers(-1, 3), 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(prof.Totals) != 3 || prof.Total <= 0 || len(prof.Steps) != 5 || prof.Steps[1].Kernel != "cpu" || prof.Steps[1].Time <= 0 ||
		prof.Device != "Fake GPU 0" || prof.Weights != 12 || prof.Arena != 12 {
		t.Errorf("%+v", prof)
	}
}

func TestALayersStatistics(t *testing.T) {
	r := newRig(t)
	m := r.model()
	layer := addLayer(m, "layer")
	other := addLayer(m, "other")
	var h *hand
	r.edit = func(made *hand) {
		h = made
		counts := &program.Tensor{Buffer: &program.Buffer{Home: program.State, Bytes: 24}, T: kernels.I64, Dims: []int64{3}, Strides: []int64{1}}
		h.prog.Cleared = append(h.prog.Cleared, counts.Buffer)
		h.prog.Layers = []program.Layer{{Name: layer, AmaxInput: h.amax, CountInput: counts, Input: 12}}
		h.prog.Steps = append(h.prog.Steps, program.Step{Node: "layer", Launch: func(l *program.Launcher) error {
			return errors.Join(l.Context.Copy(l.Addr(h.amax), l.Addr(h.v), 4, l.Stream), l.Context.Set32(l.Addr(counts), 5, 1, l.Stream))
		}})
	}
	s := r.open(t, m, runtime.Options{Statistics: true})
	s.launchOnly = true
	if want := []string{layer, other}; !slices.Equal(s.Layers(), want) {
		t.Fatalf("layers %q, want %q", s.Layers(), want)
	}
	for range 2 {
		res, err := s.Run(t.Context(), numbers(0, 3))
		if err != nil {
			t.Fatal(err)
		}
		want := []runtime.LayerStats{{Layer: layer, Runs: 1, AmaxInput: 1, Input: runtime.Counts{Elements: 12, Saturated: 5}, Counted: true}, {Layer: other}}
		if !slices.Equal(res.Layers, want) {
			t.Errorf("%+v, want %+v", res.Layers, want)
		}
	}
	// Workers cannot be asked in the middle of a run.
	opt := runtime.Options{AllReduceMax: func(context.Context, []float32) error { return nil }}
	if other, err := r.backend.Open(t.Context(), m, opt); err != nil {
		t.Errorf("layers with stored scales: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType = ops.Variant{Input: ops.InputDynamic}.FunctionName()
	if _, err := ops.Declare(m, ops.Variant{Input: ops.InputDynamic}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.backend.Open(t.Context(), m, opt); err == nil || !strings.Contains(err.Error(), `layer "other"`) {
		t.Errorf("a layer that scales dynamically: %v", err)
	}
}

// addLayer puts a Float8Linear into m that reads its own constant.
func addLayer(m *graph.Model, name string) string {
	if _, err := ops.Declare(m, ops.Variant{}); err != nil {
		panic(err)
	}
	state := func(i int, t *tensor.Tensor) string {
		n := ops.StateName(name, i)
		m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: n, Tensor: t})
		return n
	}
	codes, _ := tensor.New(tensor.Float8E4M3FN, tensor.Shape{1, 1}, tensor.Bytes{0x38})
	one := func() *tensor.Tensor { return tensor.Float32s(tensor.Shape{}, 1) }
	h := func() *tensor.Tensor { return tensor.Float32s(tensor.Shape{1}, 0) }
	m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: name + ".x", Type: &graph.Type{DType: tensor.Float32}})
	m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: name + ".x", Tensor: tensor.Float32s(tensor.Shape{1, 1}, 3)})
	l := ops.Layer{Name: name, Input: name + ".x", Output: name + ".y", AmaxInput: name + ".amax", Weight: state(ops.InWeight, codes),
		ScaleInput: state(ops.InScaleInput, one()), ScaleWeight: state(ops.InScaleWeight, one()), AmaxHistoryInput: state(ops.InAmaxHistoryInput, h()),
		AmaxHistoryWeight: state(ops.InAmaxHistoryWeight, h()), ScaleGradOutput: state(ops.InScaleGradOutput, one()),
		AmaxHistoryGradOutput: state(ops.InAmaxHistoryGradOutput, h()), Initialized: state(ops.InInitialized, tensor.Bools(tensor.Shape{}, true)),
		Original: ops.MatMul(""), QuantMax: ops.QuantMax(0)}
	m.Graph.Nodes = append(m.Graph.Nodes, l.Node())
	return name
}
