package opset

import "github.com/fp8rewrite/fp8rewrite/graph"

// window is one axis of a pooling: its extent before padding (-1 when not known), padding, reach of the kernel, and stride.
type window struct{ in, begin, end, kernel, stride int64 }

// windows are the axes of a pooling that counts its windows by rounding up; none when it rounds down or pads by itself, where
// nothing changed. ok is false when the node was refused.
func (c *call) windows() (ws []window, ok bool) {
	ceil, ok := c.plainInt("ceil_mode", 0)
	if !ok {
		return nil, false
	}
	auto, ok := c.plainString("auto_pad", "NOTSET")
	if !ok {
		return nil, false
	}
	if ceil == 0 || auto != "NOTSET" {
		return nil, true
	}
	kernel, ok := c.plainInts("kernel_shape")
	if !ok {
		return nil, false
	}
	lists := map[string][]int64{}
	for _, name := range []string{"pads", "strides", "dilations"} {
		if lists[name], ok = c.plainInts(name); !ok {
			return nil, false
		}
	}
	dims, _ := c.dims(c.node.Input(0))
	at := func(list []int64, i int, def int64) int64 {
		if i < len(list) {
			return list[i]
		}
		return def
	}
	for i, k := range kernel {
		w := window{in: -1, begin: at(lists["pads"], i, 0), end: at(lists["pads"], i+len(kernel), 0),
			kernel: (k-1)*at(lists["dilations"], i, 1) + 1, stride: at(lists["strides"], i, 1)}
		if i+2 < len(dims) {
			w.in = dims[i+2].Value
		}
		ws = append(ws, w)
	}
	return ws, true
}

// averagePoolCeil: with ceil_mode the last window may hang over the padded end. What it divides by, with count_include_pad, is not
// settled before 19: the whole kernel in some runtimes, the part inside the padding in others. Where no window hangs over, or
// padding does not count, both versions agree.
func averagePoolCeil(c *call) {
	include, ok := c.plainInt("count_include_pad", 0)
	if !ok {
		return
	}
	ws, ok := c.windows()
	if !ok || include == 0 {
		return
	}
	for i, w := range ws {
		if w.in < 0 || w.stride <= 0 || (w.in+w.begin+w.end-w.kernel)%w.stride != 0 {
			c.refuse("ceil_mode with count_include_pad: the last window of spatial axis %d may hang over the padding, and what it divides by changed", i)
			return
		}
	}
}

// poolWindows: with ceil_mode a window that would start inside the end padding counts from 22 on no more. With stride + end padding
// within the kernel's reach there is none.
func poolWindows(c *call) {
	ws, ok := c.windows()
	if !ok {
		return
	}
	for i, w := range ws {
		if w.stride > 0 && w.stride+w.end <= w.kernel {
			continue
		}
		if w.in >= 0 && w.stride > 0 {
			last := (w.in + w.begin + w.end - w.kernel + w.stride - 1) / w.stride * w.stride // where the last window starts
			if last < w.in+w.begin {
				continue
			}
		}
		c.refuse("ceil_mode: a window of spatial axis %d may start inside the end padding, where it counts no more", i)
		return
	}
}

// convTransposeOutputShape: with output_shape the padding follows from it, and the odd element went to the end without auto_pad
// before 11 and goes to the beginning after. (With SAME_UPPER and SAME_LOWER 11 only corrected the formula to agree with the
// attribute's text.)
func convTransposeOutputShape(c *call) {
	shape, ok := c.plainInts("output_shape")
	if !ok || len(shape) == 0 {
		return
	}
	auto, ok := c.plainString("auto_pad", "NOTSET")
	if !ok || auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		return
	}
	lists := map[string][]int64{}
	for _, name := range []string{"kernel_shape", "strides", "dilations", "output_padding"} {
		if lists[name], ok = c.plainInts(name); !ok {
			return
		}
	}
	in, _ := c.dims(c.node.Input(0))
	kernel, _ := c.dims(c.node.Input(1))
	out := shape
	if len(in) > 2 && len(out) == len(in) { // some exporters list batch and channels too
		out = out[2:]
	}
	for i := range out {
		total, ok := transposedPadding(i, out[i], in, kernel, lists)
		if !ok || total%2 != 0 {
			c.refuse("output_shape: the total padding of spatial axis %d is odd or not known, and its odd element moved", i)
			return
		}
	}
}

// transposedPadding is stride·(in−1) + output_padding + (kernel−1)·dilation + 1 − out of one spatial axis.
func transposedPadding(i int, out int64, in, kernel []graph.Dim, lists map[string][]int64) (int64, bool) {
	at := func(name string, def int64) int64 {
		if i < len(lists[name]) {
			return lists[name][i]
		}
		return def
	}
	k := at("kernel_shape", -1)
	if k < 0 && i+2 < len(kernel) {
		k = kernel[i+2].Value
	}
	if k < 0 || i+2 >= len(in) || in[i+2].Value < 0 {
		return 0, false
	}
	return at("strides", 1)*(in[i+2].Value-1) + at("output_padding", 0) + (k-1)*at("dilations", 1) + 1 - out, true
}
