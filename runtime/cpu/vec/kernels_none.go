//go:build !amd64 || purego

package vec

func expKernel(dst, src []float32)                 { expPlain(dst, src) }
func sigmoidKernel(dst, src []float32)             { sigmoidPlain(dst, src) }
func tanhKernel(dst, src []float32)                { tanhPlain(dst, src) }
func erfKernel(dst, src []float32)                 { erfPlain(dst, src) }
func sqrtKernel(dst, src []float32)                { sqrtPlain(dst, src) }
func addKernel(dst, a, b []float32)                { addPlain(dst, a, b) }
func subKernel(dst, a, b []float32)                { subPlain(dst, a, b) }
func mulKernel(dst, a, b []float32)                { mulPlain(dst, a, b) }
func divKernel(dst, a, b []float32)                { divPlain(dst, a, b) }
func maxKernel(dst, a, b []float32)                { maxPlain(dst, a, b) }
func minKernel(dst, a, b []float32)                { minPlain(dst, a, b) }
func addScalarKernel(dst, a []float32, b float32)  { addScalarPlain(dst, a, b) }
func subScalarKernel(dst, a []float32, b float32)  { subScalarPlain(dst, a, b) }
func mulScalarKernel(dst, a []float32, b float32)  { mulScalarPlain(dst, a, b) }
func divScalarKernel(dst, a []float32, b float32)  { divScalarPlain(dst, a, b) }
func rsubScalarKernel(dst, a []float32, b float32) { rsubScalarPlain(dst, a, b) }
func rdivScalarKernel(dst, a []float32, b float32) { rdivScalarPlain(dst, a, b) }
func maxScalarKernel(dst, a []float32, b float32)  { maxScalarPlain(dst, a, b) }
func minScalarKernel(dst, a []float32, b float32)  { minScalarPlain(dst, a, b) }
func addScaledKernel(dst, a []float32, b float32)  { addScaledPlain(dst, a, b) }
func sumKernel(src []float32, sums *[turn]float32) { sumPlain(src, sums) }
func sumSquaresKernel(src []float32, shift float32, sums *[turn]float32) {
	sumSquaresPlain(src, shift, sums)
}
func maximumKernel(src []float32, most *[turn]float32) { maximumPlain(src, most) }
func expSumKernel(dst, src []float32, shift float32, sums *[turn]float32) {
	expSumPlain(dst, src, shift, sums)
}
