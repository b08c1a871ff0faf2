package kernels

import "fmt"

// Type is an element type as the kernels number them (source/common.cuh).
type Type int32

// The element types. Bool is a byte, 0 or 1.
const (
	None Type = iota
	F32
	F16
	BF16
	E4M3
	E5M2
	Bool
	I32
	I64
)

var typeNames = [...]string{"none", "float32", "float16", "bfloat16", "float8 e4m3", "float8 e5m2", "bool", "int32", "int64"}

func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("type %d", int32(t))
	}
	return typeNames[t]
}

// Size is the width of an element in bytes, 0 for None.
func (t Type) Size() int64 {
	switch t {
	case F32, I32:
		return 4
	case F16, BF16:
		return 2
	case E4M3, E5M2, Bool:
		return 1
	case I64:
		return 8
	}
	return 0
}

// suffix is the type's part of a kernel's name, "" for types that kernels are not made for.
func (t Type) suffix() string {
	switch t {
	case F32:
		return "float"
	case F16:
		return "f16"
	case BF16:
		return "bf16"
	}
	return ""
}

// format is the part of a kernel's name for a float8 type.
func (t Type) format() string {
	switch t {
	case E4M3:
		return "e4m3"
	case E5M2:
		return "e5m2"
	}
	return ""
}

// TypeError tells a type that a kernel is not made for.
type TypeError struct {
	Kernel string
	What   string // which of its operands
	Got    Type
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("kernel %s: %s of type %s is not supported", e.Kernel, e.What, e.Got)
}

// SizeError tells sizes that a kernel cannot work on.
type SizeError struct {
	Kernel    string
	What      string
	Got, Want string
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("kernel %s: %s is %s, want %s", e.Kernel, e.What, e.Got, e.Want)
}
