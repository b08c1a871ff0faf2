package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// ErrNoFloat8 says that there is nothing to restore.
var ErrNoFloat8 = errors.New("the checkpoint has no float8 weights")

// Restoration is a checkpoint whose float8 weights go back to full precision.
type Restoration struct {
	DType tensor.DType // that they get

	src     *Source
	weights []*weight
	byName  map[string]*weight
	dropped map[string]bool // tensors that say how to read others
	warn    []report.Warning
}

// weight is a float8 weight and how its codes become values.
type weight struct {
	*stored
	module        string
	format        float8.Format
	parts, n, k   int64
	rows, columns int64 // of scales of one matrix
	blockN        int64 // of a scale
	blockK        int64
	scales        []float32
	amax          float32
	table         []float32 // value of each code, where the amax is stored itself; nil elsewhere
}

// NewRestoration finds the float8 weights of src and their scales, by the tensors that stand beside them. dtype is float32, float16 or
// bfloat16; Undefined takes the one that config.json names, or bfloat16.
func NewRestoration(src *Source, dtype tensor.DType) (r *Restoration, err error) {
	err = mapfile.Guard(func() error { r, err = newRestoration(src, dtype); return err })
	return r, err
}

func newRestoration(src *Source, dtype tensor.DType) (*Restoration, error) {
	r := &Restoration{src: src, DType: dtype, byName: map[string]*weight{}, dropped: map[string]bool{}}
	if dtype == tensor.Undefined {
		r.DType = src.dtype()
	}
	blocks := src.blocks()
	for _, sh := range src.Shards {
		for _, t := range sh.File.Tensors {
			for _, packed := range []string{".weight_packed", ".qweight", ".weight_zero_point"} {
				if strings.HasSuffix(t.Name, packed) {
					return nil, fmt.Errorf("tensor %q: the checkpoint has weights that are packed or have zero points, which only its own tools restore", t.Name)
				}
			}
			format, ok := formats[t.DType]
			if !ok || len(t.Shape) < 2 {
				continue
			}
			w := &weight{stored: src.tensors[t.Name], format: format}
			if err := r.read(w, blocks); err != nil {
				return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
			}
			r.weights = append(r.weights, w)
			r.byName[t.Name] = w
		}
	}
	if len(r.weights) == 0 {
		return nil, ErrNoFloat8
	}
	r.drop()
	return r, nil
}

var formats = map[tensor.DType]float8.Format{tensor.Float8E4M3FN: float8.E4M3FNFormat, tensor.Float8E5M2: float8.E5M2Format,
	tensor.Float8E4M3FZ: float8.E4M3FNUZFormat, tensor.Float8E5M2FZ: float8.E5M2FNUZFormat}

// dtype is the type of the model's own weights.
func (s *Source) dtype() tensor.DType {
	if s.Config != nil {
		for _, c := range []*Config{s.Config, s.Config.text()} {
			for _, key := range []string{"dtype", "torch_dtype"} {
				if d, err := ParseDType(strings.TrimPrefix(c.Text(key), "torch.")); err == nil {
					return d
				}
			}
		}
	}
	return tensor.BFloat16
}

// ParseDType reads float32, float16 or bfloat16.
func ParseDType(s string) (tensor.DType, error) {
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
		if s == d.String() {
			return d, nil
		}
	}
	return tensor.Undefined, fmt.Errorf("dtype: got %q, want bfloat16, float16 or float32", s)
}

// blocks are the extents of blocks that config.json may name, the usual ones last.
func (s *Source) blocks() [][2]int64 {
	list := [][2]int64{}
	if s.Config != nil {
		var q struct {
			Block  []int64 `json:"weight_block_size"`
			Groups map[string]struct {
				Weights struct {
					Block []int64 `json:"block_structure"`
				} `json:"weights"`
			} `json:"config_groups"`
		}
		s.Config.Get("quantization_config", &q)
		found := [][]int64{q.Block}
		for _, g := range q.Groups {
			found = append(found, g.Weights.Block)
		}
		for _, b := range found {
			if len(b) == 2 && b[0] > 0 && b[1] > 0 {
				list = append(list, [2]int64{b[0], b[1]})
			}
		}
		slices.SortFunc(list, func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) })
	}
	return append(list, [2]int64{layout.Block, layout.Block})
}

// scaleNames are the names of the tensor with the multipliers back from float8, after the module's name and after the tensor's.
var (
	besideModule = []string{".weight_scale_inv", ".weight_scale", ".scale_weight", ".weight.scale_inv", ".weight.scale", ".qscale_weight", ".scale"}
	besideTensor = []string{"_scale_inv", "_scale"}
)

func (r *Restoration) read(w *weight, blocks [][2]int64) error {
	axes := len(w.Shape)
	w.parts, w.n, w.k = 1, w.Shape[axes-2], w.Shape[axes-1]
	for _, n := range w.Shape[:axes-2] {
		w.parts *= n
	}
	if w.Elements() == 0 { // one extent may be as large as it likes
		w.parts, w.n, w.k = 0, 0, 0
	}
	module, isWeight := strings.CutSuffix(w.Name, ".weight")
	w.module = module
	if s, amax, ok, err := r.state(module); ok || err != nil {
		if amax > 0 {
			w.table = valuesOf(w.format, amax)
		}
		w.scales, w.rows, w.columns, w.blockN, w.blockK = []float32{s}, 1, 1, w.n, w.k
		if w.parts > 1 {
			w.scales = slices.Repeat(w.scales, int(w.parts))
		}
		return err
	}
	var names []string
	if isWeight {
		for _, s := range besideModule {
			names = append(names, module+s)
		}
	}
	for _, s := range besideTensor {
		names = append(names, w.Name+s)
	}
	for _, name := range names {
		t := r.src.tensors[name]
		if t == nil {
			continue
		}
		v, err := r.floats(t)
		if err != nil {
			return fmt.Errorf("scale %q: %w", name, err)
		}
		for _, s := range v {
			if s-s != 0 || s < 0 {
				return fmt.Errorf("scale %q: holds %v, want finite multipliers that are not negative", name, s)
			}
		}
		if err := w.fit(t.Shape, v, blocks); err != nil {
			return fmt.Errorf("scale %q: %w", name, err)
		}
		r.dropped[name] = true
		return nil
	}
	// A plain cast: the codes are the values.
	w.scales, w.rows, w.columns, w.blockN, w.blockK = slices.Repeat([]float32{1}, int(w.parts)), 1, 1, w.n, w.k
	r.warn = append(r.warn, report.NewWarning(report.WarnScaleMissing, w.Name, w.Name))
	return nil
}

// state reads the scale of a layer that is stored with its float8 state. The amax is what the multiplier was made from; amax/448 is one rounding
// away from it, the multiplier's reciprocal two.
func (r *Restoration) state(module string) (scale, amax float32, ok bool, err error) {
	t := r.src.tensors[module+".fp8_scale_weight"]
	if t == nil {
		return 0, 0, false, nil
	}
	v, err := r.floats(t)
	if err != nil {
		return 0, 0, false, err
	}
	if len(v) != 1 || !scaling.Usable(v[0]) {
		return 0, 0, true, fmt.Errorf("fp8_scale_weight: got %v, want one multiplier above zero", v)
	}
	if a := r.src.tensors[module+".fp8_amax_weight"]; a != nil {
		if amax, err := r.floats(a); err == nil && len(amax) == 1 {
			if s := dequantScale(amax[0]); math.Abs(float64(s)*float64(v[0])-1) < 1e-5 {
				return s, amax[0], true, nil
			}
		}
	}
	return float32(scaling.QuantScale(v[0]).Dequant()), 0, true, nil
}

// valuesOf is code · amax/448, rounded once: the code of the amax is the amax again, which a float32 scale gives for most amaxes only.
func valuesOf(f float8.Format, amax float32) []float32 {
	table := make([]float32, 256)
	for c := range table {
		table[c] = float32(float64(f.Decode(uint8(c))) * float64(max(amax, scaling.Epsilon)) / 448)
	}
	return table
}

// maxScales bounds the scales of one weight that are read: more than that is a mistake, or an attack.
const maxScales = 1 << 28

// floats reads a small tensor of floating-point numbers.
func (r *Restoration) floats(t *stored) ([]float32, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	n := t.Elements()
	if n > maxScales {
		return nil, fmt.Errorf("%d scales, want at most %d", n, maxScales)
	}
	out := make([]float32, n)
	for i := range out {
		switch t.DType {
		case tensor.Float32:
			out[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
		case tensor.Float16:
			out[i] = float8.Float16(uint16(b[2*i]) | uint16(b[2*i+1])<<8).Float32()
		case tensor.BFloat16:
			out[i] = float8.BFloat16(uint16(b[2*i]) | uint16(b[2*i+1])<<8).Float32()
		case tensor.Float8E8M0, tensor.Uint8: // some checkpoints store the exponents as bytes
			out[i] = float8.E8M0(b[i]).Float32()
		default:
			return nil, fmt.Errorf("is %s, want float32, float16, bfloat16 or float8e8m0", t.DType)
		}
	}
	return out, nil
}

// fit says which part of the weight each scale covers.
func (w *weight) fit(shape tensor.Shape, v []float32, blocks [][2]int64) error {
	wrong := fmt.Errorf("shape %s does not fit a weight of shape %s", shape, w.Shape)
	if len(shape) == 4 && shape[1] == 1 && shape[3] == 1 { // blocks as ModelOpt writes them
		shape = tensor.Shape{shape[0], shape[2]}
	}
	if w.parts == 0 {
		w.rows, w.columns = 1, 1
		return nil
	}
	if len(v) == 0 || int64(len(v))%w.parts != 0 && len(v) != 1 {
		return wrong
	}
	if len(v) == 1 {
		w.scales, w.rows, w.columns, w.blockN, w.blockK = slices.Repeat(v, int(w.parts)), 1, 1, w.n, w.k
		return nil
	}
	each := int64(len(v)) / w.parts
	if w.parts > 1 && len(shape) > 0 && shape[0] == w.parts {
		shape = shape[1:]
	}
	w.scales = v
	switch len(shape) {
	case 0:
		w.rows, w.columns = 1, 1
	case 1:
		w.rows, w.columns = shape[0], 1
	case 2:
		w.rows, w.columns = shape[0], shape[1]
	default:
		return wrong
	}
	if w.rows*w.columns != each {
		return wrong
	}
	for _, b := range blocks {
		if w.rows == (w.n+b[0]-1)/b[0] && w.columns == (w.k+b[1]-1)/b[1] {
			w.blockN, w.blockK = b[0], b[1]
			return nil
		}
	}
	// Else equal parts: rows, the whole, or the halves of what was fused on disk.
	if len(shape) < 2 && w.rows != w.n && w.rows != 1 || w.n%w.rows != 0 || w.k%w.columns != 0 {
		return wrong
	}
	w.blockN, w.blockK = w.n/w.rows, w.k/w.columns
	return nil
}

// Suffixes of what else stands beside a float8 weight, and of the scales of caches.
var (
	besideNames = []string{".input_scale", ".activation_scale", ".scale_input", ".comfy_quant", ".fp8_amax_input", ".fp8_amax_history_input",
		".fp8_scale_input", ".fp8_amax_weight", ".fp8_amax_history_weight", ".fp8_scale_weight", ".fp8_amax_grad_output",
		".fp8_amax_history_grad_output", ".fp8_scale_grad_output"}
	cacheNames = []string{".k_scale", ".v_scale", ".q_scale", ".kv_scale", "k_proj.output_scale", "v_proj.output_scale", "q_proj.output_scale"}
)

// drop marks the tensors that mean nothing without float8.
func (r *Restoration) drop() {
	for _, w := range r.weights {
		for _, s := range besideNames {
			r.dropped[w.module+s] = true
		}
		r.dropped[w.Name+"_activation_scale"] = true
	}
	for _, sh := range r.src.Shards {
		for _, t := range sh.File.Tensors {
			r.dropped[t.Name] = r.dropped[t.Name] || t.Name == "scaled_fp8" || t.Elements() <= 4096 &&
				slices.ContainsFunc(cacheNames, func(s string) bool { return strings.HasSuffix(t.Name, s) })
		}
	}
}

// Run restores the checkpoint and writes it at target.
func (r *Restoration) Run(ctx context.Context, target string, opt RunOptions) (*Result, error) {
	return run(ctx, r.src, r, target, opt)
}

func (r *Restoration) fingerprint() any { return "restore " + r.DType.String() }

func (r *Restoration) shard(_ context.Context, _ *pool, i int) ([]part, map[string]string, error) {
	var parts []part
	for _, t := range r.src.Shards[i].File.Tensors {
		w := r.byName[t.Name]
		switch {
		case r.dropped[t.Name]:
		case w == nil:
			parts = append(parts, part{Tensor: t})
		default:
			parts = append(parts, r.values(w))
		}
	}
	metadata := withFormat(r.src.Shards[i].File.Metadata)
	delete(metadata, "_quantization_metadata")
	delete(metadata, layout.MetadataLayout)
	return parts, metadata, nil
}

// values is the weight in the type of the output: type(float32(code · scale)), and of a layer with its state type(float32(code · amax/448)).
func (r *Restoration) values(w *weight) part {
	size := w.Elements() * int64(r.DType.Bits()/8)
	t := &tensor.Tensor{DType: r.DType, Shape: w.Shape, Data: computed(size)}
	return part{Tensor: safetensors.Tensor{Name: w.Name, Tensor: t}, fill: func(ctx context.Context, s *scratch, emit func([]byte) error) error {
		codes, err := w.Bytes()
		if err != nil {
			return err
		}
		v := view{parts: w.parts, n: w.n, k: w.k}
		w.amax = 0
		return v.pieces(ctx, func(p piece) error {
			at := p.part*w.n*w.k + p.lo*w.k + p.from
			from := codes[at : at+p.rows()*p.columns()]
			to := s.values[:len(from)]
			if w.table != nil {
				for i, c := range from {
					to[i] = w.table[c]
				}
			} else {
				w.runs(p, func(a, b int64, scale float32) {
					float8.DecodeFloat32(to[a:b], from[a:b], w.format, scale)
				})
			}
			amax := float8.AmaxFloat32(to)
			w.amax = float8.MaxAmax(w.amax, amax)
			if r.DType == tensor.Float16 && amax >= 65520 {
				return fmt.Errorf("holds %v, which float16 cannot", amax)
			}
			return emit(s.narrow(r.DType, to))
		})
	}}
}

// runs calls f for the parts of a piece that have one scale.
func (w *weight) runs(p piece, f func(a, b int64, scale float32)) {
	wide := p.columns()
	base := p.part * w.rows * w.columns
	if w.rows == 1 && w.columns == 1 {
		f(0, p.rows()*wide, w.scales[base])
		return
	}
	for r := p.lo; r < p.hi; r++ {
		at := (r-p.lo)*wide - p.from
		for c := p.from; c < p.to; {
			end := min((c/w.blockK+1)*w.blockK, p.to)
			f(at+c, at+end, w.scales[base+r/w.blockN*w.columns+c/w.blockK])
			c = end
		}
	}
}

// narrow rounds values to d.
func (s *scratch) narrow(d tensor.DType, v []float32) []byte {
	if d == tensor.Float32 {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
	}
	words := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(s.source))), len(v))
	if d == tensor.Float16 {
		float8.NarrowFloat16(words, v)
	} else {
		float8.NarrowBFloat16(words, v)
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 2*len(v))
}

func (r *Restoration) record(i int) any {
	list := []uint32{}
	for _, w := range r.weights {
		if w.shard == i {
			list = append(list, math.Float32bits(w.amax))
		}
	}
	return list
}

func (r *Restoration) replay(i int, raw json.RawMessage) error {
	var list []uint32
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, w := range r.weights {
		if w.shard != i {
			continue
		}
		if len(list) == 0 {
			return fmt.Errorf("journal: weights of %s are missing", r.src.Shards[i].Name)
		}
		w.amax, list = math.Float32frombits(list[0]), list[1:]
	}
	return nil
}

func (r *Restoration) edits() (map[string][]byte, error) {
	files := map[string][]byte{moFile: nil}
	if r.src.Config == nil {
		return files, nil
	}
	c := r.src.Config.Clone()
	c.Delete("quantization_config")
	c.Delete("compression_config")
	for _, key := range []string{"dtype", "torch_dtype"} {
		if c.Has(key) && c.Text(key) != r.DType.String() {
			if err := c.Set(key, r.DType.String()); err != nil {
				return nil, err
			}
		}
	}
	var err error
	files[configFile], err = c.Encode()
	return files, err
}

// Warnings are what the user should know.
func (r *Restoration) Warnings() []report.Warning {
	return append(append([]report.Warning{}, r.warn...), r.src.copiedWeights()...)
}

// Rows are the weights that are restored. written says that they have been.
func (r *Restoration) Rows(written bool) []report.Layer {
	rows := make([]report.Layer, 0, len(r.weights))
	for _, w := range r.weights {
		l := report.Layer{Name: w.module, Op: "Linear", Decision: report.Rewritten, Rule: report.RuleRestore, Weight: w.Name, Shape: w.Shape.Clone(),
			DTypeBefore: w.DType.String(), DTypeAfter: r.DType.String(), Elements: w.Elements(), BytesBefore: w.Size(),
			BytesAfter: w.Elements() * int64(r.DType.Bits()/8)}
		if written {
			l.SetAmax(w.amax)
		}
		q := &report.QuantScale{Granularity: report.PerBlock, Count: int64(len(w.scales)), Min: report.Float32(math.Inf(1))}
		switch {
		case w.rows == 1 && w.columns == 1:
			q.Granularity = report.PerTensor
		case w.rows == w.n && w.columns == 1:
			q.Granularity = report.PerChannel
		}
		for _, s := range w.scales {
			q.Min, q.Max = min(q.Min, report.Float32(1/s)), max(q.Max, report.Float32(1/s))
		}
		l.QuantScale = q
		rows = append(rows, l)
	}
	return rows
}

// InputAmaxes are the amaxes of the inputs of layers that a float8-linear checkpoint stores, by layer; those that have seen nothing are left out.
func (s *Source) InputAmaxes() (map[string]float32, error) {
	const history = ".fp8_amax_history_input"
	out := map[string]float32{}
	r := &Restoration{src: s}
	for name, t := range s.tensors {
		layer, ok := strings.CutSuffix(name, history)
		if !ok {
			continue
		}
		v, err := r.floats(t)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		amax := float32(0)
		for _, a := range v {
			amax = max(amax, a)
		}
		if scaling.Usable(amax) {
			out[layer] = amax
		}
	}
	return out, nil
}
