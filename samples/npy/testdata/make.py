# Makes the files beside it with NumPy 2.4.6; the tests know their content by heart.
import io, zipfile
import numpy as np

arrays = {
    "f4": np.arange(6, dtype="<f4").reshape(2, 3),
    "f8be": np.arange(6, dtype=">f8").reshape(2, 3),
    "i2fortran": np.asfortranarray(np.arange(24, dtype="<i2").reshape(2, 3, 4)),
    "i4befortran": np.asfortranarray(np.arange(6, dtype=">i4").reshape(3, 2)),
    "bool": np.array([True, False, True]),
    "scalar": np.array(7, dtype="<i8"),
    "none": np.zeros((0, 5), dtype="u1"),
    "f2": np.array([0.5, -2], dtype="<f2"),
}
np.savez("stored.npz", **arrays)
np.savez_compressed("deflated.npz", **arrays)
np.savez("objects.npz", x=np.array([{"a": 1}], dtype=object))
np.savez("structured.npz", x=np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
np.savez("text.npz", x=np.array(["a", "bc"]))
