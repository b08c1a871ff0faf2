package cuda

import (
	"errors"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// sharedBytes is what a session counts of the GPU's memory beside its own: cuBLASLt's workspace, which all sessions use in turn.
const sharedBytes = lt.DefaultWorkspace

// touch notes that p is used now, and its session.
func (s *session) touch(p *compiled) {
	s.resident = append(without(s.resident, p), p)
	s.gpu.sessions = append(without(s.gpu.sessions, s), s)
}

func without[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(list, func(y T) bool { return y == x })
}

// admit makes room for what p still needs, within the session's bound and on the card. What is idle gives way. Nothing does where p
// would not fit alone.
func (s *session) admit(c *driver.Context, p *compiled) error {
	const what = "a run of the model"
	alone := p.bytes() + sharedBytes
	for first := true; ; first = false {
		free, _, err := c.Memory()
		if err != nil {
			return err
		}
		need := s.mem.missing(p)
		bound := s.mem.bound > 0 && s.mem.held+need+sharedBytes > s.mem.bound
		if !bound && need <= free {
			return nil
		}
		all := free // what p could have
		for _, t := range s.gpu.sessions {
			all += t.mem.held
		}
		short := &runtime.MemoryError{Need: s.mem.held + need, Have: s.mem.held + free, For: what, Of: s.mem.card}
		switch {
		case first && s.mem.bound > 0 && alone > s.mem.bound:
			return &runtime.MemoryError{Need: alone, Have: s.mem.bound, For: what}
		case first && alone-sharedBytes > all:
			return &runtime.MemoryError{Need: alone - sharedBytes, Have: all, For: what, Of: s.mem.card}
		case bound:
			short = &runtime.MemoryError{Need: s.mem.held + need + sharedBytes, Have: s.mem.bound, For: what}
		}
		more, err := s.spare(c, p, !bound)
		if err != nil {
			return err
		}
		if !more {
			return short
		}
	}
}

// bytes is what a program takes where nothing of it is there.
func (p *compiled) bytes() int64 {
	none := memory{}
	return none.missing(&compiled{prog: p.prog, stateBytes: p.stateBytes})
}

// spare gives back memory that p can do without, and says whether there was any: what another program of the session keeps, then, of
// others, what the session that was not used for longest has, at last what p itself could have smaller.
func (s *session) spare(c *driver.Context, p *compiled, others bool) (bool, error) {
	for _, q := range s.resident {
		if q != p {
			return true, s.unload(c, q)
		}
	}
	if others {
		for _, t := range s.gpu.sessions {
			if t == s {
				continue
			}
			if len(t.resident) > 0 {
				return true, t.unload(c, t.resident[0])
			}
			return true, t.leave(c)
		}
	}
	if s.mem.size > p.prog.Arena {
		return true, errors.Join(p.forget(c), s.mem.release(c))
	}
	// Of memory that several weights were given at once, those that nobody uses any more may be the larger part.
	if p.weights != nil && s.mem.held+s.mem.missing(p) > p.bytes() {
		return true, errors.Join(p.forget(c), s.mem.drop(c, p))
	}
	return false, nil
}

// leave gives back what the session has of the GPU.
func (s *session) leave(c *driver.Context) error {
	var errs []error
	for len(s.resident) > 0 {
		errs = append(errs, s.unload(c, s.resident[0]))
	}
	s.gpu.sessions = without(s.gpu.sessions, s)
	return errors.Join(append(errs, s.mem.release(c))...)
}
