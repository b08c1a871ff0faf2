package layout

import (
	"fmt"
	"strings"
)

// The last part of a module's name says along which axis engines divide it among devices: by input for what takes the output of layers that
// were divided by output; not at all for low-rank factors.
var (
	byInput = map[string]bool{"o_proj": true, "down_proj": true, "w2": true, "wo": true, "out_proj": true, "c_proj": true, "dense": true,
		"dense_4h_to_h": true, "fc2": true, "fc_out": true}
	whole = map[string]bool{"q_a_proj": true, "kv_a_proj_with_mqa": true}
)

func last(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// share is the number of outputs that one device gets of n.
func share(l Linear, n, tp int64) int64 {
	if l.Heads > 0 && l.Heads < tp { // each gets a copy of one head
		tp = l.Heads
	}
	return n / tp
}

// refuseBlocks says why an engine would not read block scales of a layer. Engines join fused layers, so each must end at a block's end; and a
// device's share must too.
func refuseBlocks(l Linear, tp int64) string {
	name := last(l.Module)
	if l.Fused && l.N%Block != 0 {
		return fmt.Sprintf("it is joined with its siblings, and its %d outputs do not fill blocks of %d", l.N, Block)
	}
	for _, n := range l.Splits {
		if n%Block != 0 {
			return fmt.Sprintf("it joins several layers, and the %d outputs of one do not fill blocks of %d", n, Block)
		}
	}
	if tp <= 1 || whole[name] {
		return ""
	}
	if byInput[name] {
		if n := l.K / tp; n%Block != 0 {
			return fmt.Sprintf("with %d devices each gets %d of its inputs, which do not fill blocks of %d", tp, n, Block)
		}
		return ""
	}
	parts := l.Splits
	if len(parts) == 0 {
		parts = []int64{l.N}
	}
	for _, p := range parts {
		if n := share(l, p, tp); n%Block != 0 {
			return fmt.Sprintf("with %d devices each gets %d of its outputs, which do not fill blocks of %d", tp, n, Block)
		}
	}
	return ""
}

// refuseShare says why a layer cannot be divided among devices at all.
func refuseShare(l Linear, tp int64) string {
	name := last(l.Module)
	switch {
	case tp <= 1 || whole[name]:
	case byInput[name] && l.K%tp != 0:
		return fmt.Sprintf("its %d inputs do not divide among %d devices", l.K, tp)
	case !byInput[name] && l.N%min(tp, max(l.Heads, 1)) != 0, !byInput[name] && l.Heads == 0 && l.N%tp != 0:
		return fmt.Sprintf("its %d outputs do not divide among %d devices", l.N, tp)
	}
	return ""
}

// refuseEngine is what all engines that divide layers refuse.
func refuseEngine(l Linear, s Scheme, tp int64) string {
	if why := conv1D(l); why != "" {
		return why
	}
	if why := refuseShare(l, tp); why != "" {
		return why
	}
	if s.Weights == PerBlock {
		return refuseBlocks(l, tp)
	}
	return ""
}

// refuseUneven is the rule of loaders that cut a weight into as many equal parts as there are scales.
func refuseUneven(l Linear) string {
	if l.N > Block && l.N%Block != 0 || l.K > Block && l.K%Block != 0 {
		return fmt.Sprintf("its extents [%d,%d] are no multiples of %d, and the loader cuts a weight into as many equal parts as there are scales", l.N, l.K, Block)
	}
	return ""
}

// refusePartial is the rule of loaders that know whole blocks only.
func refusePartial(l Linear) string {
	if l.N%Block != 0 || l.K%Block != 0 {
		return fmt.Sprintf("its extents [%d,%d] are no multiples of %d, and the loader knows whole blocks only", l.N, l.K, Block)
	}
	return ""
}
