package lt

import (
	"errors"
	goruntime "runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// DefaultWorkspace is the bytes of workspace that cuBLASLt wants on Hopper and later; earlier cards do with less.
const DefaultWorkspace = 32 << 20

// Handle is cuBLASLt on a device: its workspace, and the plans made so far.
type Handle struct {
	lib       *Library
	handle    uintptr
	workspace driver.Ptr
	room      int64
	plans     map[Problem]*Plan
	asked     uint64 // calls of Plan
	one, zero float32

	mu   sync.Mutex
	left []*Plan // what plans that nobody holds any more left in the library
}

// mostPlans is how many plans are kept for a problem that is asked for again.
const mostPlans = 1024

// New makes a handle with a workspace of so many bytes.
func (l *Library) New(c *driver.Context, workspace int64) (*Handle, error) {
	h := &Handle{lib: l, room: workspace, plans: map[Problem]*Plan{}, one: 1}
	if err := l.call(fnCreate, uintptr(unsafe.Pointer(&h.handle))); err != nil {
		return nil, lost(c, err)
	}
	var err error
	if h.workspace, err = c.Alloc(workspace); err != nil {
		return nil, errors.Join(err, l.call(fnDestroy, h.handle))
	}
	return h, nil
}

// Close gives plans, workspace and handle back.
func (h *Handle) Close(c *driver.Context) error {
	if h.handle == 0 {
		return nil
	}
	errs := []error{h.sweep()}
	for _, p := range h.plans {
		errs = append(errs, p.destroy(h.lib))
	}
	errs = append(errs, c.Free(h.workspace), h.lib.call(fnDestroy, h.handle))
	h.handle, h.workspace, h.plans = 0, 0, nil
	return errors.Join(errs...)
}

// Plans is the number of plans in the cache.
func (h *Handle) Plans() int { return len(h.plans) }

// Plan is how a problem is computed.
type Plan struct {
	// Problem is what Matmul computes: the one asked for, but see SpreadX and MultiplyX.
	Problem Problem

	// SpreadX and SpreadW say that the library takes a vector of scales for one operand only together with one for the other, as on
	// Hopper: scaleX, which the problem has as a scalar, must be given as M copies of it, or scaleW as N. See Handle.Spread.
	SpreadX, SpreadW bool

	// MultiplyX and MultiplyW say that this card or library takes no vectors of scales at all. Matmul then has no scale for that operand: the
	// caller multiplies row m of the output by scaleX[m], or column n by scaleW[n], and after that adds the bias and applies the
	// activation, which Problem no longer has. Outputs of float16 may overflow before they are multiplied.
	MultiplyX, MultiplyW bool

	// Workspace is how many bytes of the handle's the algorithm uses, Waves how often it fills the card.
	Workspace int64
	Waves     float32

	asked uint64 // when, by Handle.asked

	desc, w, x, y, c uintptr // c describes the matrix that is added, which is never read
	algo             [8]uint64
	set              [4]driver.Ptr // what the descriptor's addresses are: bias, scales of A, B, D
}

// Plan finds how p is computed: the library's first answer, which is kept for as long as it is one of the last that were asked for, and for
// who holds it as long as that one wants. The error is an [*UnsupportedError] where the library has no
// algorithm for it.
func (h *Handle) Plan(c *driver.Context, p Problem) (*Plan, error) {
	if !p.X.Float8() {
		p.Fast = false
	}
	if p.Batch <= 1 {
		p.Batch, p.XStride, p.WStride, p.YStride = 1, 0, 0, 0
	}
	h.asked++
	if plan := h.plans[p]; plan != nil {
		plan.asked = h.asked
		return plan, nil
	}
	if err := h.sweep(); err != nil {
		return nil, err
	}
	why := p.invalid()
	if p.X.Float8() && why == "" {
		why = Why(c.Info(), p)
	}
	if why != "" {
		return nil, &UnsupportedError{Problem: p, Why: why}
	}
	refused := func(err error) bool { _, no := errors.AsType[*UnsupportedError](err); return no }
	plan, err := h.ask(c, p)
	if refused(err) && p.Rows != p.Channels {
		both := p
		both.Rows, both.Channels = true, true
		if plan, err = h.ask(c, both); err == nil {
			plan.SpreadX, plan.SpreadW = !p.Rows, !p.Channels
		}
	}
	if refused(err) && (p.Rows || p.Channels) {
		bare := p
		bare.Rows, bare.Channels, bare.Bias, bare.Activation = false, false, None, Identity
		if plan, err = h.ask(c, bare); err == nil {
			plan.MultiplyX, plan.MultiplyW = p.Rows, p.Channels
		}
	}
	if err != nil {
		return nil, err
	}
	plan.asked = h.asked
	h.plans[p] = plan
	if len(h.plans) > mostPlans {
		h.forget()
	}
	return plan, nil
}

// forget drops the plan that was not asked for for longest. Programs may hold it: what the library has of it waits for the garbage
// collector to find that none does, and then for a call on the GPU's thread.
func (h *Handle) forget() {
	var problem Problem
	var oldest *Plan
	for p, plan := range h.plans {
		if oldest == nil || plan.asked < oldest.asked {
			problem, oldest = p, plan
		}
	}
	delete(h.plans, problem)
	goruntime.AddCleanup(oldest, func(left *Plan) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.left = append(h.left, left)
	}, &Plan{desc: oldest.desc, w: oldest.w, x: oldest.x, y: oldest.y, c: oldest.c})
}

// sweep gives back what dropped plans left in the library.
func (h *Handle) sweep() error {
	h.mu.Lock()
	left := slices.Clone(h.left)
	h.left = h.left[:0]
	h.mu.Unlock()
	var errs []error
	for _, p := range left {
		errs = append(errs, p.destroy(h.lib))
	}
	return errors.Join(errs...)
}

// Spread puts n copies of the float32 at src to dst, in the order of a stream and without a kernel: each copy doubles what is there. It
// can be captured; a scale that does not change needs it once.
func (h *Handle) Spread(c *driver.Context, dst, src driver.Ptr, n int, s driver.Stream) error {
	const size = 4
	if n <= 0 {
		return nil
	}
	if err := c.Copy(dst, src, size, s); err != nil {
		return err
	}
	for there := 1; there < n; there *= 2 {
		if err := c.Copy(dst.Add(int64(there)*size), dst, int64(min(there, n-there))*size, s); err != nil {
			return err
		}
	}
	return nil
}

// ask makes the descriptors of p and has the library choose an algorithm.
func (h *Handle) ask(c *driver.Context, p Problem) (plan *Plan, err error) {
	l := h.lib
	plan = &Plan{Problem: p}
	var pref uintptr
	defer func() {
		derr := l.destroy(fnPreferenceDestroy, pref)
		if err = errors.Join(err, derr); err != nil {
			_ = plan.destroy(l)
			plan, err = nil, lost(c, err)
		}
	}()
	if err := l.call(fnDescCreate, uintptr(unsafe.Pointer(&plan.desc)), computeF32, cudaTypes[F32]); err != nil {
		return plan, err
	}
	transA := int32(opT)
	if p.KN {
		transA = opN
	}
	if err := errors.Join(plan.setI32(l, descTransA, transA), plan.setI32(l, descTransB, opN)); err != nil {
		return plan, err
	}
	epilogue := int32(0)
	if p.Bias != None {
		epilogue |= epilogueBias
		if err := plan.setI32(l, descBiasType, int32(cudaTypes[p.Bias])); err != nil {
			return plan, err
		}
	}
	switch p.Activation {
	case ReLU:
		epilogue |= epilogueReLU
	case GELU:
		epilogue |= epilogueGELU
	}
	if epilogue == 0 {
		epilogue = epilogueDefault
	}
	if err := plan.setI32(l, descEpilogue, epilogue); err != nil {
		return plan, err
	}
	if p.Fast {
		fast := int8(1)
		if err := l.call(fnDescSet, plan.desc, descFast, uintptr(unsafe.Pointer(&fast)), 1); err != nil {
			return plan, err
		}
	}
	for attr, vector := range map[uintptr]bool{descModeA: p.Channels, descModeB: p.Rows} {
		if !vector {
			continue
		}
		err := plan.setI32(l, attr, modeVector)
		if s, ok := errors.AsType[*StatusError](err); ok && s.Status == statusInvalidValue {
			return plan, &UnsupportedError{Problem: p, Why: "this cuBLASLt has no vectors of scales", Err: err}
		}
		if err != nil {
			return plan, err
		}
	}
	m, n, k := uintptr(p.N), uintptr(p.M), uintptr(p.K)
	wRows, wCols := k, m
	if p.KN {
		wRows, wCols = m, k
	}
	added := p.Y
	if added.Float8() {
		added = BF16
	}
	for _, layout := range []struct {
		at         *uintptr
		t          Type
		rows, cols uintptr
		stride     int64
	}{{&plan.w, p.W, wRows, wCols, p.WStride}, {&plan.x, p.X, k, n, p.XStride}, {&plan.y, p.Y, m, n, p.YStride}, {&plan.c, added, m, n, p.YStride}} {
		if err := l.call(fnLayoutCreate, uintptr(unsafe.Pointer(layout.at)), cudaTypes[layout.t], layout.rows, layout.cols, layout.rows); err != nil {
			return plan, err
		}
		if p.Batch == 1 {
			continue
		}
		count, stride := int32(p.Batch), layout.stride
		if err := l.call(fnLayoutSet, *layout.at, layoutBatch, uintptr(unsafe.Pointer(&count)), 4); err != nil {
			return plan, err
		}
		if err := l.call(fnLayoutSet, *layout.at, layoutStride, uintptr(unsafe.Pointer(&stride)), 8); err != nil {
			return plan, err
		}
	}
	if err := l.call(fnPreferenceCreate, uintptr(unsafe.Pointer(&pref))); err != nil {
		return plan, err
	}
	room := uint64(h.room)
	if err := l.call(fnPreferenceSet, pref, prefWorkspace, uintptr(unsafe.Pointer(&room)), 8); err != nil {
		return plan, err
	}
	// Only algorithms that do with the alignment which is checked before a launch; A, B, C and D alike.
	for i := range uintptr(4) {
		align := uint32(alignment)
		if err := l.call(fnPreferenceSet, pref, prefAlignA+i, uintptr(unsafe.Pointer(&align)), 4); err != nil {
			return plan, err
		}
	}
	// The library wants to see how a bias and vectors of scales are aligned, not the numbers.
	for i, there := range [4]bool{p.Bias != None, p.Channels, p.Rows} {
		if !there {
			continue
		}
		if err := plan.point(l, i, h.workspace); err != nil {
			return plan, err
		}
	}
	// cublasLtMatmulHeuristicResult_t
	var answer struct {
		algo      [8]uint64
		workspace uint64
		state     int32
		waves     float32
		reserved  [4]int32
	}
	var found int32
	err = l.call(fnHeuristic, h.handle, plan.desc, plan.w, plan.x, plan.c, plan.y, pref, 1, uintptr(unsafe.Pointer(&answer)), uintptr(unsafe.Pointer(&found)))
	if s, ok := errors.AsType[*StatusError](err); ok && (s.Status == statusNotSupported || s.Status == statusInvalidValue) {
		return plan, &UnsupportedError{Problem: p, Why: "the library has no algorithm for it", Err: err}
	}
	if err != nil {
		return plan, err
	}
	if found == 0 || answer.state != 0 {
		return plan, &UnsupportedError{Problem: p, Why: "the library has no algorithm for it"}
	}
	plan.algo, plan.Workspace, plan.Waves = answer.algo, int64(answer.workspace), answer.waves
	return plan, nil
}

// setI32 sets an attribute of the descriptor.
func (p *Plan) setI32(l *Library, attr uintptr, v int32) error {
	return l.call(fnDescSet, p.desc, attr, uintptr(unsafe.Pointer(&v)), 4)
}

// pointers are the descriptor's attributes that hold an address.
var pointers = [4]uintptr{descBias, descScaleA, descScaleB, descScaleD}

// point sets one of the descriptor's addresses, where it is another than before.
func (p *Plan) point(l *Library, i int, to driver.Ptr) error {
	if p.set[i] == to {
		return nil
	}
	address := uint64(to)
	if err := l.call(fnDescSet, p.desc, pointers[i], uintptr(unsafe.Pointer(&address)), 8); err != nil {
		return err
	}
	p.set[i] = to
	return nil
}

// destroy gives the descriptors back.
func (p *Plan) destroy(l *Library) error {
	return errors.Join(l.destroy(fnDescDestroy, p.desc), l.destroy(fnLayoutDestroy, p.w), l.destroy(fnLayoutDestroy, p.x),
		l.destroy(fnLayoutDestroy, p.y), l.destroy(fnLayoutDestroy, p.c))
}

// lost lets the context have its say where a library's error may come from the context's end.
func lost(c *driver.Context, err error) error {
	if s, ok := errors.AsType[*StatusError](err); ok && (s.Status == statusExecutionFailed || s.Status == statusInternalError) {
		return errors.Join(err, c.SyncAll())
	}
	return err
}
