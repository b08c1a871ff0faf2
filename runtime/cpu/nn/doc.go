// Package nn holds the operators of neural networks: convolution, pooling, normalization, recurrence, attention, losses, signal and image operators, for the CPU engine.
package nn
