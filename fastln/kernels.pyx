# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, freethreading_compatible=True, autotestdict=False
"""The kernels through typed memoryviews, one function per operation and dtype.

For Cython code without the GIL, by ``from fastln.kernels cimport layer_norm_f32``, and for Python. x and out are
C-contiguous, have two dimensions, and are normalized over the second. The half types are passed as their bits
(``array.view(numpy.uint16)``), with weight and bias in float32. weight and bias may be None, out may be x; out must not
overlap an argument in any other way. Given statistics are float64, one of each for a row.

Checked are None, shapes, alignment and eps (ValueError); nothing is converted or copied. The GIL is neither
needed nor released.
"""
from libc.math cimport isfinite
from libc.stdint cimport uintptr_t

from fastln._core cimport (
    FASTLN_bf16, FASTLN_f16, FASTLN_f32, FASTLN_f64, FASTLN_layer_norm, FASTLN_normalize, FASTLN_rms_norm,
    describe_rows, fastln_dtype, fastln_operation, fastln_task, run,
)

ctypedef fused values:
    const float[:, ::1]
    const double[:, ::1]
    const unsigned short[:, ::1]

ctypedef fused factors:
    const float[::1]
    const double[::1]


cdef int normalize(fastln_operation operation, fastln_dtype dtype, values x, factors weight, factors bias, double eps,
                   values out) except -1 nogil:
    """The body of those that gather statistics."""
    cdef fastln_task task  # large, so only what is used gets a value
    task.mean = task.rstd = NULL
    return finish(&task, operation, dtype, x, weight, bias, eps, out)


cdef int normalize_given(fastln_dtype dtype, values x, const double[::1] mean, const double[::1] rstd, factors weight,
                         factors bias, values out) except -1 nogil:
    cdef fastln_task task
    if rstd is None:
        return refuse("rstd: expected an array, got None")
    if x is not None and mean is not None and mean.shape[0] != x.shape[0]:
        return refuse_length("mean", x.shape[0], mean.shape[0])
    if x is not None and rstd.shape[0] != x.shape[0]:
        return refuse_length("rstd", x.shape[0], rstd.shape[0])
    task.mean = NULL if mean is None or mean.shape[0] == 0 else <void *>&mean[0]
    task.rstd = NULL if rstd.shape[0] == 0 else <void *>&rstd[0]
    if (<uintptr_t>task.mean | <uintptr_t>task.rstd) % sizeof(double):
        return refuse("mean and rstd: expected aligned arrays")
    return finish(&task, FASTLN_normalize, dtype, x, weight, bias, 0, out)


cdef int finish(fastln_task *task, fastln_operation operation, fastln_dtype dtype, values x, factors weight,
                factors bias, double eps, values out) except -1 nogil:
    """The one body. rms_norm gives its weight for the bias, which is ignored: a None would take the GIL to make."""
    if x is None or out is None:
        return refuse("x and out: expected arrays, got None")
    if out.shape[0] != x.shape[0] or out.shape[1] != x.shape[1]:
        with gil:
            raise ValueError(f"out: expected shape {x.shape[0], x.shape[1]}, got {out.shape[0], out.shape[1]}")
    if weight is not None and weight.shape[0] != x.shape[1]:
        return refuse_length("weight", x.shape[1], weight.shape[0])
    if bias is not None and bias.shape[0] != x.shape[1]:
        return refuse_length("bias", x.shape[1], bias.shape[0])
    if not (isfinite(eps) and eps >= 0):
        with gil:
            raise ValueError(f"eps: expected a finite number >= 0, got {eps}")
    if x.shape[0] == 0 or x.shape[1] == 0:
        return 0
    task.x = &x[0, 0]
    task.y = <void *>&out[0, 0]
    task.weight = NULL if weight is None else &weight[0]
    task.bias = NULL if bias is None or operation == FASTLN_rms_norm else &bias[0]
    if (<uintptr_t>task.x | <uintptr_t>task.y) % sizeof(x[0, 0]):
        return refuse("x and out: expected aligned arrays")
    if (<uintptr_t>task.weight | <uintptr_t>task.bias) % sizeof(weight[0]):
        return refuse("weight and bias: expected aligned arrays")
    task.operation = operation
    task.dtype = dtype
    task.subtract_mean = 1
    task.wide = operation == FASTLN_normalize
    task.eps = eps
    describe_rows(task, x.shape[0], x.shape[1])
    run(task)
    return 0


cdef int refuse(const char *why) except -1 nogil:
    with gil:
        raise ValueError(why.decode())


cdef int refuse_length(const char *name, Py_ssize_t expected, Py_ssize_t got) except -1 nogil:
    with gil:
        raise ValueError(f"{name.decode()}: expected shape {(expected,)}, got {(got,)}")


cpdef int layer_norm_f32(const float[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                         float[:, ::1] out) except -1 nogil:
    """float32: ``out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, row by row. Returns 0."""
    return normalize(FASTLN_layer_norm, FASTLN_f32, x, weight, bias, eps, out)


cpdef int layer_norm_f64(const double[:, ::1] x, const double[::1] weight, const double[::1] bias, double eps,
                         double[:, ::1] out) except -1 nogil:
    """float64: ``out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, row by row. Returns 0."""
    return normalize(FASTLN_layer_norm, FASTLN_f64, x, weight, bias, eps, out)


cpdef int layer_norm_f16(const unsigned short[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                         unsigned short[:, ::1] out) except -1 nogil:
    """The bits of float16: ``out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, row by row. Returns 0."""
    return normalize(FASTLN_layer_norm, FASTLN_f16, x, weight, bias, eps, out)


cpdef int layer_norm_bf16(const unsigned short[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                          unsigned short[:, ::1] out) except -1 nogil:
    """The bits of bfloat16: ``out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, row by row. Returns 0."""
    return normalize(FASTLN_layer_norm, FASTLN_bf16, x, weight, bias, eps, out)


cpdef int rms_norm_f32(const float[:, ::1] x, const float[::1] weight, double eps, float[:, ::1] out) except -1 nogil:
    """float32: ``out = x / sqrt(mean(x ** 2) + eps) * weight``, row by row. Returns 0."""
    return normalize(FASTLN_rms_norm, FASTLN_f32, x, weight, weight, eps, out)


cpdef int rms_norm_f64(const double[:, ::1] x, const double[::1] weight, double eps, double[:, ::1] out) except -1 nogil:
    """float64: ``out = x / sqrt(mean(x ** 2) + eps) * weight``, row by row. Returns 0."""
    return normalize(FASTLN_rms_norm, FASTLN_f64, x, weight, weight, eps, out)


cpdef int rms_norm_f16(const unsigned short[:, ::1] x, const float[::1] weight, double eps,
                       unsigned short[:, ::1] out) except -1 nogil:
    """The bits of float16: ``out = x / sqrt(mean(x ** 2) + eps) * weight``, row by row. Returns 0."""
    return normalize(FASTLN_rms_norm, FASTLN_f16, x, weight, weight, eps, out)


cpdef int rms_norm_bf16(const unsigned short[:, ::1] x, const float[::1] weight, double eps,
                        unsigned short[:, ::1] out) except -1 nogil:
    """The bits of bfloat16: ``out = x / sqrt(mean(x ** 2) + eps) * weight``, row by row. Returns 0."""
    return normalize(FASTLN_rms_norm, FASTLN_bf16, x, weight, weight, eps, out)


cpdef int normalize_f32(const float[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const float[::1] weight, const float[::1] bias, float[:, ::1] out) except -1 nogil:
    """float32: ``out = (x - mean) * rstd * weight + bias``, row by row. mean may be None. Returns 0."""
    return normalize_given(FASTLN_f32, x, mean, rstd, weight, bias, out)


cpdef int normalize_f64(const double[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const double[::1] weight, const double[::1] bias, double[:, ::1] out) except -1 nogil:
    """float64: ``out = (x - mean) * rstd * weight + bias``, row by row. mean may be None. Returns 0."""
    return normalize_given(FASTLN_f64, x, mean, rstd, weight, bias, out)


cpdef int normalize_f16(const unsigned short[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const float[::1] weight, const float[::1] bias, unsigned short[:, ::1] out) except -1 nogil:
    """The bits of float16: ``out = (x - mean) * rstd * weight + bias``, row by row. mean may be None. Returns 0."""
    return normalize_given(FASTLN_f16, x, mean, rstd, weight, bias, out)


cpdef int normalize_bf16(const unsigned short[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                         const float[::1] weight, const float[::1] bias, unsigned short[:, ::1] out) except -1 nogil:
    """The bits of bfloat16: ``out = (x - mean) * rstd * weight + bias``, row by row. mean may be None. Returns 0."""
    return normalize_given(FASTLN_bf16, x, mean, rstd, weight, bias, out)
