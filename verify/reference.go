package verify

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// reference gives what the original computes, from memory where it has been kept. Its session opens when it is first needed.
type reference struct {
	v       *Verifier
	keep    []string // values beside the outputs, which are never kept in memory
	session runtime.Session
}

// step gives the floating-point values of batch i. An output of no declared type that is something else is left out.
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
	values, err := run(ctx, r.session, inputs)
	if err != nil {
		return nil, err
	}
	out := floating(values)
	for _, o := range r.v.outputs {
		switch {
		case out[o.name] != nil:
		case o.declared != tensor.Undefined:
			return nil, fmt.Errorf("output %q: declared %s, computed %s", o.name, o.declared, kind(values[o.name]))
		case o.name == r.v.opt.Logits:
			return nil, notLogits(o.name, kind(values[o.name]))
		}
	}
	if _, ok := r.v.kept[i]; !ok {
		outputs, size := map[string]*tensor.Tensor{}, int64(0)
		for _, o := range r.v.outputs {
			if t := out[o.name]; t != nil {
				outputs[o.name] = t
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
