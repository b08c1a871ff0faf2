package verify

import (
	"context"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// reference gives what the original computes, from memory where it has been kept. Its session opens when it is first needed.
type reference struct {
	v       *Verifier
	keep    []string // values beside the outputs, which are never kept in memory
	session runtime.Session
}

func (r *reference) step(ctx context.Context, i int, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	if kept, ok := r.v.kept[i]; ok && len(r.keep) == 0 {
		return kept, nil
	}
	if r.session == nil {
		s, err := r.v.open(ctx, r.v.original, r.keep)
		if err != nil {
			return nil, err
		}
		r.session = s
	}
	if err := r.v.plan(Original, r.session, inputs); err != nil {
		return nil, err
	}
	out, err := run(ctx, r.session, inputs)
	if err != nil {
		return nil, err
	}
	if _, ok := r.v.kept[i]; !ok {
		outputs, size := map[string]*tensor.Tensor{}, int64(0)
		for _, name := range r.v.outputs {
			if t := out[name]; t != nil {
				outputs[name] = t
				size += t.Size()
			}
		}
		if r.v.bytes+size <= keepLimit {
			r.v.kept[i] = outputs
			r.v.bytes += size
		}
	}
	return out, nil
}

func (r *reference) close() {
	if r.session != nil {
		r.session.Close()
	}
}
