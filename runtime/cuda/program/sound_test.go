package program

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// sound checks what must hold for every program: each launch takes addresses of buffers that its step names, nothing is read before it is
// written, buffers of the arena that live at one time do not overlap, segments find their inputs and make what the GPU takes from them, and
// the arena is not much larger than what lives at one time. It returns how often each kernel was launched.
func sound(t testing.TB, p *Program) map[string]int {
	t.Helper()
	written := map[*Buffer]bool{}
	note := func(buffers []*Buffer) {
		for _, buf := range buffers {
			written[buf] = true
		}
	}
	var least int64
	note(p.Weights)
	note(p.Cleared)
	note(p.SetupCleared)
	for _, transfers := range [][]Transfer{p.Inputs, p.Variables} {
		for _, x := range transfers {
			note(buffers(x.Tensor))
			if x.Tensor.Buffer.Home != State {
				t.Errorf("%q arrives in a buffer that is not kept", x.Name)
			}
		}
	}
	for _, part := range []struct {
		name  string
		steps []Step
	}{{"setup", p.Setup}, {"step", p.Steps}} {
		for i, s := range part.steps {
			where := fmt.Sprintf("%s %d, %s of %q (%s)", part.name, i, s.Kernel, s.Node, s.Op)
			for _, buf := range s.Reads {
				if !written[buf] {
					t.Errorf("%s: reads %d bytes (home %d) that nothing has written", where, buf.Bytes, buf.Home)
				}
			}
			for _, buf := range s.Writes {
				if buf.Home == Weight {
					t.Errorf("%s: writes a weight", where)
				}
			}
			note(s.Writes)
		}
		if part.name == "setup" {
			for buf := range written {
				if buf.Home == Arena {
					delete(written, buf)
				}
			}
		}
		noOverlap(t, p, part.steps)
		all, err := lifetimes(part.steps)
		if err != nil {
			t.Fatal(err)
		}
		least = max(least, peak(all, len(part.steps)))
	}
	if float64(p.Arena) > 1.1*float64(least)+4*align {
		t.Errorf("the arena has %d bytes, at most %d live at one time", p.Arena, least)
	}
	for _, buf := range p.Weights {
		if buf.Fill == nil || buf.Home != Weight {
			t.Errorf("a weight of %d bytes without content", buf.Bytes)
		}
	}
	for _, out := range p.Outputs {
		if out.Tensor != nil && (!out.Tensor.Contiguous() || !written[out.Tensor.Buffer] || out.Tensor.Buffer.Home == Arena) {
			t.Errorf("output %q is not kept, or not contiguous, or never written", out.Name)
		}
	}
	soundSegments(t, p)
	return launches(t, p)
}

// noOverlap checks the arena, step by step.
func noOverlap(t testing.TB, p *Program, steps []Step) {
	t.Helper()
	type span struct{ first, last int }
	spans := map[*Buffer]*span{}
	for i, s := range steps {
		for _, buf := range slices.Concat(s.Reads, s.Writes) {
			if buf.Home != Arena {
				continue
			}
			if spans[buf] == nil {
				spans[buf] = &span{i, i}
			}
			spans[buf].last = i
			if buf.Offset < 0 || buf.Offset%256 != 0 || buf.Offset+buf.Bytes > p.Arena {
				t.Errorf("a buffer of %d bytes at %d in an arena of %d", buf.Bytes, buf.Offset, p.Arena)
			}
		}
	}
	for x, xs := range spans {
		for y, ys := range spans {
			if x != y && xs.first <= ys.last && ys.first <= xs.last && x.Offset < y.Offset+y.Bytes && y.Offset < x.Offset+x.Bytes {
				t.Errorf("buffers of %d bytes at %d, steps %v, and of %d at %d, steps %v, overlap", x.Bytes, x.Offset, *xs, y.Bytes, y.Offset, *ys)
			}
		}
	}
}

// soundSegments checks the parts of the processor.
func soundSegments(t testing.TB, p *Program) {
	t.Helper()
	previous := false
	for i, s := range p.Steps {
		if s.Segment == nil {
			previous = false
			continue
		}
		if previous {
			t.Errorf("step %d: a segment after a segment", i)
		}
		previous = true
		g := s.Segment.Model.Graph
		for _, in := range s.Segment.In {
			if !in.Tensor.Contiguous() || !slices.Contains(s.Reads, in.Tensor.Buffer) {
				t.Errorf("step %d: the segment reads %q, which is not contiguous or not among what the step reads", i, in.Name)
			}
			if !slices.ContainsFunc(g.Inputs, func(v *graph.Value) bool { return v.Name == in.Name }) {
				t.Errorf("step %d: %q is no input of the segment's model", i, in.Name)
			}
		}
		for _, out := range s.Segment.Out {
			if !out.Tensor.Contiguous() || !slices.Contains(s.Writes, out.Tensor.Buffer) {
				t.Errorf("step %d: the segment makes %q, which is not contiguous or not among what the step writes", i, out.Name)
			}
			if !slices.ContainsFunc(g.Outputs, func(v *graph.Value) bool { return v.Name == out.Name }) {
				t.Errorf("step %d: %q is no output of the segment's model", i, out.Name)
			}
		}
	}
}
