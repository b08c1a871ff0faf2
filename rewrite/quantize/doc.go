// Package quantize turns a constant matrix of a model into the float8 weight of a Float8Linear: codes in [N, K] order, K
// contiguous, whatever the order of the source.
//
// The weight is a tensor.Data: it exists as bytes only while it is written, a panel of output channels at a time, so a matrix
// may be larger than memory. Two passes read the source: Measure finds the amaxes that the scales come from, WriteTo casts and
// counts. Panels are cut by the shape alone and merged in order, so bytes and statistics do not depend on the number of
// workers.
//
// It knows float8 casts and the two memory orders. It refuses to know nodes, names and files; rewrite comes before it and
// after it.
package quantize
