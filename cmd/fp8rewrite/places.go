package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/graph"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// places is an engine that remembers which nodes of the models that it ran were not where, or what, one would expect. Those who run the
// models need not know.
type places struct {
	runtime.Backend

	mu   sync.Mutex
	seen map[runtime.Placement]bool
	list []reports.Placement
}

// Open opens a session of the engine.
func (p *places) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	s, err := p.Backend.Open(ctx, m, opt)
	if err != nil {
		return nil, err
	}
	if placer, ok := s.(runtime.Placer); ok {
		return &placedSession{Session: s, placer: placer, places: p}, nil
	}
	return s, nil
}

// placedSession tells its placements when it ends: an engine may know them only after a run.
type placedSession struct {
	runtime.Session
	placer runtime.Placer
	places *places
}

func (s *placedSession) Close() error {
	s.places.add(s.placer.Placements())
	return s.Session.Close()
}

func (p *places) add(list []runtime.Placement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[runtime.Placement]bool{}
	}
	for _, x := range list {
		if !p.seen[x] {
			p.seen[x] = true
			p.list = append(p.list, reports.Placement{Node: x.Node, Op: x.Op, Layer: x.Layer, Where: x.Where, Why: x.Why})
		}
	}
}

// execution is what a report says of where models ran.
func (e *engine) execution() reports.Execution {
	e.places.mu.Lock()
	defer e.places.mu.Unlock()
	return reports.Execution{Compute: e.compute, Accumulate: e.sums, Placements: e.places.list}
}

// tellPlaces says in a line how many nodes ran elsewhere; the report and its table say which, and why.
func (e *engine) tellPlaces(w io.Writer) {
	nodes, layers := 0, 0
	for _, p := range e.execution().Placements {
		if p.Layer != "" && p.Where != "cpu" {
			layers++
		} else {
			nodes++
		}
	}
	if nodes > 0 {
		fmt.Fprintf(w, "note: %s ran on the cpu; the report says why\n", counted(nodes, "node"))
	}
	if layers > 0 {
		fmt.Fprintf(w, "note: %s did not run in float8 products; the report says why\n", counted(layers, "layer"))
	}
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// fill says in the report's volatile part which GPU there was, and why there was none.
func (e *engine) fill(v *reports.Volatile) { v.Card, v.Fallback = e.card, e.fallback }
