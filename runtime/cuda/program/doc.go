// Package program turns a static model into what a GPU does: launches in order over arrays whose places in memory are planned, and
// between them the parts that the processor must run.
//
// It knows which operator is computed by which kernel or product, what is fused with what, how arrays lie in memory and how long they
// live. It refuses to touch a GPU: a step holds a function that launches when it is given the means, and everything else here can be
// looked at and tested without one. specialize comes before it; runtime/cuda, which owns the device, after it.
package program
