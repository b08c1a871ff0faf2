package kernels

import (
	"strings"
	"unsafe"
)

// Entry is a kernel as the PTX has it.
type Entry struct {
	Name     string
	Module   string // the source file, without its ending
	ArgBytes int    // size of the struct that it takes by value
	Threads  int    // the largest block that it is made for
	Hopper   bool   // for compute capability 9.0 and no other
}

// hopperSuffix ends the names of modules for compute capability 9.0, as package nvrtc compiles them.
const hopperSuffix = "_sm90a"

// family is the kernels that one pattern names: each %t is a type's part of a name, %f that of a float8 format.
type family struct {
	module, pattern string
	args            uintptr
	threads         int
	types           []Type
}

var families = []family{
	{"cast", "cast_%f_%t", unsafe.Sizeof(castArgs{}), 256, []Type{F32, F16, BF16}},
	{"cast", "cast_count_%f_%t", unsafe.Sizeof(castArgs{}), 256, []Type{F32, F16, BF16}},
	{"cast", "cast_padded_%t", unsafe.Sizeof(padArgs{}), 256, []Type{F32, F16, BF16}},
	{"cast", "amax_%t", unsafe.Sizeof(castArgs{}), 256, []Type{F32, F16, BF16}},
	{"cast", "decode_%f_%t", unsafe.Sizeof(decodeArgs{}), 256, []Type{F32, F16, BF16}},
	{"cast", "convert_float_%t", unsafe.Sizeof(convertArgs{}), 256, []Type{F16, BF16}},
	{"cast", "convert_f16_%t", unsafe.Sizeof(convertArgs{}), 256, []Type{F32, BF16}},
	{"cast", "convert_bf16_%t", unsafe.Sizeof(convertArgs{}), 256, []Type{F32, F16}},
	{"cast", "scale_from_amax", unsafe.Sizeof(scaleArgs{}), 256, nil},
	{"norm", "rms_norm_fast_%t", unsafe.Sizeof(normArgs{}), fastCols / 16, []Type{F32, BF16}},
	{"norm", "layer_norm_fast_%t", unsafe.Sizeof(normArgs{}), fastCols / 16, []Type{F32, BF16}},
	{"norm", "rms_norm_%t", unsafe.Sizeof(normArgs{}), 1024, []Type{F32, BF16}},
	{"norm", "layer_norm_%t", unsafe.Sizeof(normArgs{}), 1024, []Type{F32, BF16}},
	{"activation", "silu_mul_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"activation", "silu_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"activation", "gelu_erf_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"activation", "gelu_tanh_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"activation", "relu_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"activation", "add_%t", unsafe.Sizeof(actArgs{}), 256, []Type{F32, BF16}},
	{"chain", "chain", unsafe.Sizeof(chainArgs{}), 256, nil},
	{"softmax", "softmax_%t", unsafe.Sizeof(softmaxArgs{}), 512, []Type{F32, BF16}},
	{"reduce", "reduce_rows_%t", unsafe.Sizeof(reduceArgs{}), 1024, []Type{F32, BF16}},
	{"reduce", "reduce_columns_%t", unsafe.Sizeof(reduceArgs{}), 256, []Type{F32, BF16}},
	{"move", "copy_1", unsafe.Sizeof(copyArgs{}), 256, nil},
	{"move", "copy_2", unsafe.Sizeof(copyArgs{}), 256, nil},
	{"move", "copy_4", unsafe.Sizeof(copyArgs{}), 256, nil},
	{"move", "copy_8", unsafe.Sizeof(copyArgs{}), 256, nil},
	{"move", "copy_16", unsafe.Sizeof(copyArgs{}), 256, nil},
	{"move", "transpose_1", unsafe.Sizeof(transposeArgs{}), 256, nil},
	{"move", "transpose_2", unsafe.Sizeof(transposeArgs{}), 256, nil},
	{"move", "transpose_4", unsafe.Sizeof(transposeArgs{}), 256, nil},
	{"move", "transpose_8", unsafe.Sizeof(transposeArgs{}), 256, nil},
	{"move", "gather", unsafe.Sizeof(gatherArgs{}), 256, nil},
	{"rotary", "rotary_halves_%t", unsafe.Sizeof(rotaryArgs{}), 256, []Type{F32, BF16}},
	{"rotary", "rotary_%t", unsafe.Sizeof(rotaryArgs{}), 256, []Type{F32, BF16}},
	{"attention", "attention_any_%t", unsafe.Sizeof(attentionArgs{}), 256, []Type{F32, BF16}},
	{"attention", "attention_mma_64_%t", unsafe.Sizeof(attentionArgs{}), 128, []Type{BF16}},
	{"attention", "attention_mma_128_%t", unsafe.Sizeof(attentionArgs{}), 128, []Type{BF16}},
	{"attention" + hopperSuffix, "attention_hopper_64_%t", unsafe.Sizeof(attentionArgs{}), 384, []Type{BF16}},
	{"attention" + hopperSuffix, "attention_hopper_128_%t", unsafe.Sizeof(attentionArgs{}), 384, []Type{BF16}},
	{"attention" + hopperSuffix, "attention_hopper_mask_64_%t", unsafe.Sizeof(attentionArgs{}), 384, []Type{BF16}},
	{"attention" + hopperSuffix, "attention_hopper_mask_128_%t", unsafe.Sizeof(attentionArgs{}), 384, []Type{BF16}},
}

// Table lists every kernel.
func Table() []Entry {
	var out []Entry
	add := func(f family, name string) {
		out = append(out, Entry{name, f.module, int(f.args), f.threads, strings.HasSuffix(f.module, hopperSuffix)})
	}
	for _, f := range families {
		names := []string{f.pattern}
		if f.types != nil {
			names = names[:0]
			for _, t := range f.types {
				names = append(names, strings.ReplaceAll(f.pattern, "%t", t.suffix()))
			}
		}
		for _, n := range names {
			if !strings.Contains(n, "%f") {
				add(f, n)
				continue
			}
			for _, format := range []Type{E4M3, E5M2} {
				add(f, strings.ReplaceAll(n, "%f", format.format()))
			}
		}
	}
	return out
}
