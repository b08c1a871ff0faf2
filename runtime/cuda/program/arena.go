package program

import (
	"cmp"
	"fmt"
	"slices"
)

// align is the distance that the addresses of buffers are multiples of.
const align = 256

// lifetime is a buffer of the arena, from the step that writes it first to the last that uses it.
type lifetime struct {
	buffer      *Buffer
	first, last int
	size        int64 // a multiple of align
}

// lifetimes are those of the arena's buffers that steps use, in the order of their first use.
func lifetimes(steps []Step) ([]*lifetime, error) {
	var all []*lifetime
	of := map[*Buffer]*lifetime{}
	for i, s := range steps {
		for _, buf := range s.Writes {
			if buf.Home != Arena || of[buf] != nil {
				continue
			}
			l := &lifetime{buf, i, i, max((buf.Bytes+align-1)/align, 1) * align}
			of[buf] = l
			all = append(all, l)
		}
		for _, uses := range [][]*Buffer{s.Reads, s.Writes} {
			for _, buf := range uses {
				if buf.Home != Arena {
					continue
				}
				if of[buf] == nil {
					return nil, fmt.Errorf("step %d, %s of node %q (%s), reads %d bytes that no step has written", i, s.Kernel, s.Node, s.Op, buf.Bytes)
				}
				of[buf].last = i
			}
		}
	}
	return all, nil
}

// peak is the largest sum of sizes that live at one step: no plan needs less.
func peak(all []*lifetime, steps int) int64 {
	change := make([]int64, steps+1)
	for _, l := range all {
		change[l.first] += l.size
		change[l.last+1] -= l.size
	}
	var sum, most int64
	for _, c := range change {
		sum += c
		most = max(most, sum)
	}
	return most
}

// plan gives each buffer of the arena its offset and tells the bytes that the arena needs. Buffers that live at one time do not overlap. It
// tries the orders that are known to come near the peak, the largest first and the longest first, and places each buffer as low as those
// placed before it allow.
func plan(steps []Step) (int64, error) {
	all, err := lifetimes(steps)
	if err != nil {
		return 0, err
	}
	least := peak(all, len(steps))
	orders := []func(x, y *lifetime) int{
		func(x, y *lifetime) int { return cmp.Compare(y.size, x.size) },
		func(x, y *lifetime) int { return cmp.Compare(y.last-y.first, x.last-x.first) },
		func(x, y *lifetime) int { return cmp.Compare(x.first, y.first) },
	}
	best := int64(-1)
	for _, order := range orders {
		if best == least {
			break
		}
		sorted := slices.Clone(all)
		slices.SortStableFunc(sorted, order)
		offsets, bytes := place(sorted)
		if best >= 0 && bytes >= best {
			continue
		}
		best = bytes
		for i, l := range sorted {
			l.buffer.Offset = offsets[i]
		}
	}
	return max(best, 0), nil
}

// place puts each buffer at the lowest place that is free for as long as it lives.
func place(all []*lifetime) (offsets []int64, bytes int64) {
	type placed struct {
		*lifetime
		at int64
	}
	var there []placed // by offset
	offsets = make([]int64, len(all))
	for i, l := range all {
		var at int64
		for _, p := range there {
			if p.last < l.first || l.last < p.first {
				continue
			}
			if p.at-at >= l.size {
				break
			}
			at = max(at, p.at+p.size)
		}
		offsets[i] = at
		bytes = max(bytes, at+l.size)
		where, _ := slices.BinarySearchFunc(there, at, func(p placed, at int64) int { return cmp.Compare(p.at, at) })
		there = slices.Insert(there, where, placed{l, at})
	}
	return offsets, bytes
}
