// Package npy reads NumPy's files: .npy, one array, and .npz, a zip file of them.
//
// It knows the headers, which it parses itself as the literals they are (nothing in a file is ever executed), the zip container, and
// what both may lie about: lengths, sizes, checksums, ratios. It refuses to know what the arrays are for, object arrays (pickles),
// structured types and strings. tensor and internal/mapfile come before it; samples turns arrays into steps.
//
// Files are mapped. An array that is stored as it is becomes a view; a compressed one is unpacked when its bytes are asked for, into
// exactly the memory that its header declares.
package npy
