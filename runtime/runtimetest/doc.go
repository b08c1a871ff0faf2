// Package runtimetest is the suite that every engine passes: one call of [Run] is an engine's test.
//
// It knows what package runtime promises and what Float8Linear computes, from a slow reference of its own in float64. It refuses to
// know any engine: what one cannot do is in the list of skips that its test passes in, with the reason. The engines come before it;
// only tests come after.
//
// A case is a small model made here, named like a path: a skip of "float8linear" leaves out all cases under that name. A skip that
// fits no case fails, so that the list does not outlive its reasons.
package runtimetest
