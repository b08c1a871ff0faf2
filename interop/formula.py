"""Float8Linear's formula in numpy, written from its definition alone: it shares nothing with the function body or the Go code.

    q_x = sat(float32(x) * s_x),  q_w = sat(w * s_w),  y = T(sum(q_x * q_w) / (s_x * s_w))

sat rounds to the nearest float8e4m3fn, ties to the even code, and saturates at 448. A scale is a multiplier; one that is computed
during the run is quant_max * (1 / max(amax, 1e-12)), where quant_max is 448 / 2^margin.
"""

import numpy as np

E4M3_MAX = np.float32(448)


def e4m3_values():
    """The value of each of the 256 codes: sign, 4 exponent bits with bias 7, 3 mantissa bits; S.1111.111 is NaN, there is no infinity."""
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = (1 + mantissa / 8) * np.exp2(exponent - 7.0)
    value = np.where(exponent == 0, mantissa / 8 * np.exp2(-6.0), normal)
    value = np.where((code & 127) == 127, np.nan, value)
    return np.where(code & 128, -value, value).astype(np.float32)


def saturate(x):
    """The values of x rounded to float8e4m3fn, as float32."""
    x = np.asarray(x, np.float32).astype(np.float64)
    size = np.abs(x)
    with np.errstate(invalid="ignore"):
        exponent = np.frexp(np.where(np.isfinite(size), size, 1))[1] - 1
        step = np.exp2(np.maximum(exponent, -6) - 3.0)
        rounded = np.minimum(np.rint(size / step) * step, 448)
    return np.where(np.isnan(x), np.nan, np.copysign(rounded, x)).astype(np.float32)


def dynamic_scale(x, stored, quant_max=E4M3_MAX, power_of_two=False, per_row=False):
    """quant_max * (1 / max(amax, 1e-12)), both steps rounded to float32, over the whole of x or per row of [N, K]; floored to a power of
    two if asked. An amax of 0, infinity or NaN leaves the stored scale."""
    size = np.abs(np.asarray(x, np.float32))
    amax = np.asarray(size.max(axis=1 if per_row else None, initial=0), np.float32)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scale = np.float32(quant_max) * (np.float32(1) / np.maximum(amax, np.float32(1e-12)))
        if power_of_two:
            scale = np.exp2(np.frexp(scale)[1] - 1.0).astype(np.float32)
        return np.where((amax > 0) & (amax < np.inf), scale, stored).astype(np.float32)


def float8_linear(x, weight, scale_x, scale_w, weight_is_quantized):
    """y in float64 before it is rounded to x's type: x [..., K], weight [N, K], scale_x scalar or None for an input that is not
    cast, scale_w scalar or [N]."""
    scale_w = np.asarray(scale_w, np.float32)
    per_row = scale_w.reshape(-1, 1) if scale_w.ndim else scale_w
    q_w = weight if weight_is_quantized else saturate(np.asarray(weight, np.float32) * per_row)
    x = np.asarray(x, np.float32)
    q_x = x if scale_x is None else saturate(x * np.float32(scale_x))
    total = q_x.astype(np.float64) @ q_w.astype(np.float64).T
    scale = scale_w.astype(np.float64) * (1.0 if scale_x is None else np.float64(scale_x))
    return total / scale
