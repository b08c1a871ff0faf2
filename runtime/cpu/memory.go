package cpu

// assumedMemory stands for the free memory of a machine that does not tell.
const assumedMemory = 8 << 30
