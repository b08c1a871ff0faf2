// Package lt multiplies matrices on an NVIDIA GPU with cuBLASLt: in float8, and in bfloat16, float16 and float32 for what stays.
//
//	y[M,N] = activation(scaleX · scaleW · x[M,K] · w[N,K]ᵀ + bias[N])
//
// It knows cuBLASLt's interface and what the library demands of shapes, types and addresses: [Why] says for a float8 product why it
// cannot be computed so and must stay in bfloat16, [Pad] what would make it fit, and every address is checked before it is used, since
// the library lets some bad ones through and the GPU's context is lost then. It refuses to know models, operators, and how scales come
// about. runtime/cuda/driver comes before it, the engine after it.
//
// Matrices are as ONNX has them, row by row. cuBLASLt thinks in columns, and so computes yᵀ = w·xᵀ: its A is w, its B is x, its m is N
// and its n is M. With K contiguous in both, A is transposed, which is the only layout that float8 has.
//
// A [Handle] belongs to a device and is used inside [driver.Device.Do], on one stream at a time: its workspace is shared by all
// products. [Handle.Plan] asks the library once per problem and takes its first answer, [Handle.Matmul] launches; it can be captured.
package lt
