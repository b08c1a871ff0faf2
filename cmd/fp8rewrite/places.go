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
	original *graph.Model // nil where there is none; every other model is a rewritten one

	mu   sync.Mutex
	seen map[reports.Placement]bool
	list []reports.Placement
}

// Open opens a session of the engine.
func (p *places) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	s, err := p.Backend.Open(ctx, m, opt)
	if err != nil {
		return nil, err
	}
	if placer, ok := s.(runtime.Placer); ok {
		whose := reports.ModelRewritten
		if m == p.original {
			whose = reports.ModelOriginal
		}
		return &placedSession{Session: s, placer: placer, places: p, whose: whose}, nil
	}
	return s, nil
}

// placedSession tells its placements when it ends: an engine may know them only after a run.
type placedSession struct {
	runtime.Session
	placer runtime.Placer
	places *places
	whose  string // the model
}

func (s *placedSession) Close() error {
	s.places.add(s.whose, s.placer.Placements())
	return s.Session.Close()
}

func (p *places) add(whose string, list []runtime.Placement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[reports.Placement]bool{}
	}
	for _, x := range list {
		y := reports.Placement{Model: whose, Node: x.Node, Op: x.Op, Layer: x.Layer, Where: x.Where, Why: x.Why}
		if !p.seen[y] {
			p.seen[y] = true
			p.list = append(p.list, y)
		}
	}
}

// execution is what a report says of where models ran.
func (e *engine) execution() reports.Execution {
	e.places.mu.Lock()
	defer e.places.mu.Unlock()
	return reports.Execution{Compute: e.compute, Accumulate: e.sums, Placements: e.places.list}
}

// tellPlaces says in a line how many nodes of each model ran elsewhere; the report and its table say which, and why.
func (e *engine) tellPlaces(w io.Writer) {
	list := e.execution().Placements
	for _, model := range []string{reports.ModelOriginal, reports.ModelRewritten} {
		nodes, layers, whose := 0, 0, ""
		for _, p := range list {
			switch {
			case p.Model != model:
			case p.Layer != "" && p.Where != "cpu":
				layers++
			default:
				nodes++
			}
		}
		if e.places.original != nil {
			whose = " of the " + model + " model"
		}
		if nodes > 0 {
			fmt.Fprintf(w, "note: %s%s ran on the cpu; the report says why\n", counted(nodes, "node"), whose)
		}
		if layers > 0 {
			fmt.Fprintf(w, "note: %s%s did not run in float8 products; the report says why\n", counted(layers, "layer"), whose)
		}
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
