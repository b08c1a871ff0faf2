// Package tensor holds the types every room shares about dense arrays: the element type, the shape, and a view of bytes that
// may lie in a mapped file or not exist until they are written.
//
// It knows sizes and byte order. It refuses to know files, protobuf, operators or number formats beyond their width: float8 does
// the casting, the codecs fill the tensors, graph gives them names.
package tensor
