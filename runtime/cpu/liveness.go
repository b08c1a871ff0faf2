package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// prune leaves out the steps whose outputs nobody reads, and marks outputs that nobody reads as absent. A Float8Linear stays, and so
// does what holds one: that it ran is itself a result.
func (p *program) prune() {
	read := make([]bool, p.slots)
	for _, o := range p.outputs {
		read[o] = true
	}
	var kept []*step
	for _, s := range slices.Backward(p.steps) {
		live := s.layers
		for i, o := range s.out {
			if o != absent && !read[o] {
				s.out[i] = absent
			}
			live = live || s.out[i] != absent
		}
		if !live {
			continue
		}
		kept = append(kept, s)
		for _, i := range s.in {
			if i != absent {
				read[i] = true
			}
		}
		if s.control == nil {
			continue
		}
		s.captures = nil
		for _, q := range s.control.programs() {
			q.prune()
			for _, c := range q.captures {
				read[c.from] = true
				if !slices.Contains(s.captures, c.from) {
					s.captures = append(s.captures, c.from)
				}
			}
		}
	}
	slices.Reverse(kept)
	p.steps = kept
	p.captures = slices.DeleteFunc(p.captures, func(c capture) bool { return !read[c.to] })
	for i := range p.consts {
		if !read[i] {
			delete(p.consts, i)
		}
	}
}

// lives finds for every step the slots that nobody reads after it, and makes its call.
func (p *program) lives() {
	seen := make([]bool, p.slots) // read later, or never to be released
	for _, o := range p.outputs {
		seen[o] = true
	}
	for i := range p.consts {
		seen[i] = true
	}
	ends(p.steps, seen)
	p.unread = nil
	for _, i := range p.inputs {
		if !seen[i] {
			p.unread = append(p.unread, i)
		}
	}
	for _, s := range p.steps {
		p.endsInside(s, seen)
	}
	p.frame = make([]kernel.Value, p.slots)
	p.fixed, p.isConst = nil, make([]bool, p.slots)
	for i, c := range p.consts {
		p.fixed = append(p.fixed, fixedSlot{i, c})
		p.isConst[i] = true
	}
}

// endsInside does the same for the steps that a fused one stands for: what is its own input or output lives on. scratch has a place for each
// slot.
func (p *program) endsInside(s *step, scratch []bool) {
	if s.held == nil {
		return
	}
	clear(scratch)
	for i := range p.consts {
		scratch[i] = true
	}
	for _, i := range append(s.in[:len(s.in):len(s.in)], s.out...) {
		scratch[i] = true
	}
	ends(s.held, scratch)
	for _, h := range s.held {
		p.endsInside(h, scratch)
	}
}

// ends gives each step the slots that end their life with it. seen are the slots that live on after the last step; those that the
// steps read are among them afterwards.
func ends(steps []*step, seen []bool) {
	for _, s := range slices.Backward(steps) {
		s.free = nil
		s.call = kernel.Call{In: make([]kernel.Value, len(s.in)), Out: make([]kernel.Value, len(s.out)), Wanted: make([]bool, len(s.out)),
			Dies: make([]bool, len(s.in))}
		for i, o := range s.out {
			s.call.Wanted[i] = o != absent
			if o != absent && !seen[o] {
				s.free = append(s.free, o)
				seen[o] = true
			}
		}
		for i, in := range s.in {
			// A value that is two inputs at once does not die as one of them.
			s.call.Dies[i] = in != absent && !seen[in] && count(s.in, in) == 1 && !contains(s.captures, in)
		}
		for _, in := range append(s.in[:len(s.in):len(s.in)], s.captures...) {
			if in != absent && !seen[in] {
				seen[in] = true
				s.free = append(s.free, in)
			}
		}
	}
}

func count(slots []int, i int) int {
	n := 0
	for _, s := range slots {
		if s == i {
			n++
		}
	}
	return n
}
