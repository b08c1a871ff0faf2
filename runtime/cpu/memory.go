package cpu

// assumedMemory stands for the free memory of a machine that does not tell.
const assumedMemory = 8 << 30

// endlessMemory bounds a request on a machine that does not tell what it has: Go ends the process when the system refuses memory.
const endlessMemory = 1 << 38
