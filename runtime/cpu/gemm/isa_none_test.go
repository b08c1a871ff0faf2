package gemm

func available() []*isa { return []*isa{plain} }
