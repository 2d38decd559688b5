# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, freethreading_compatible=True, autotestdict=False
"""The public functions, and everything between a Python call and a kernel.

The design in short:
- A batch of one is decided by what the call itself costs. An exact ndarray is therefore read through NumPy's C API (3 ns,
  a typed memoryview takes 105), the task lies on the stack, and no Python object is made but the result.
- Both operations go through `normalize`, so each check exists once. Nothing is written before all of them have passed.
  Prepared objects checked their parameters when they were made, so their usual case goes past it (`apply_rows`).
- `fastln_describe` (src/layout.c) finds the layout of any pair of arrays; the layouts differ in speed alone and give the same
  bits.
  What is of another dtype or byte order is copied into the result first and normalized there in place. So there are no
  temporaries of the array's size, but where README.md says so: only windows of up to 4 MiB a thread, and 192
  bytes for each piece of the long rows at work, which is 4 to 256 KiB (src/pieces.c). weight and bias are copied if their dtype
  or layout is not the kernels', if they overlap `out`, or, into the order of memory, for 8 and more permuted rows.
"""
cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.object cimport PyObject, PyTypeObject
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport isfinite, sqrt
from libc.stdint cimport uint64_t
from libc.string cimport strcmp
cimport numpy as cnp
from numpy cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_FORCECAST, NPY_CORDER, NPY_FLOAT16, NPY_FLOAT32, NPY_FLOAT64,
    NPY_ULONGLONG, PyArray_Check, PyArray_CheckExact, PyArray_CopyInto, PyArray_DATA, PyArray_DIMS, PyArray_Dims,
    PyArray_FROM_OTF, PyArray_IS_C_CONTIGUOUS, PyArray_ISALIGNED, PyArray_ISNOTSWAPPED, PyArray_ISUSERDEF,
    PyArray_ISWRITEABLE, PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_NDIM, PyArray_Newshape, PyArray_SIZE, PyArray_STRIDES,
    PyArray_TYPE, ndarray, npy_intp,
)

import operator
import os

import numpy as np

cnp.import_array()

cdef extern from "fastln.h" nogil:
    int fastln_isa_count()
    const char *fastln_isa_name(int i)
    int fastln_isa_compiled(int i)
    int fastln_isa_supported(int i)
    const char *fastln_isa_active()
    int fastln_isa_select(const char *name)
    void fastln_isa_select_best()
    ctypedef struct fastln_arrays:
        int ndim
        const npy_intp *shape
        const npy_intp *x_strides
        const npy_intp *y_strides
        const npy_intp *weight_strides
        const npy_intp *bias_strides
        const npy_intp *stat_strides
        uint64_t normalized
        npy_intp item_size
        bint aligned

    void fastln_describe(fastln_task *task, const fastln_arrays *arrays, int *order)
    void fastln_order_rows(fastln_task *task)
    void fastln_describe_rows(fastln_task *task, npy_intp rows, npy_intp length)
    int fastln_run(const fastln_task *task)
    int fastln_run_added(const fastln_task *task, const void *x, const void *residual)
    bint fastln_is_long(const fastln_task *task)
    const char *fastln_parallel_init()
    const char *fastln_parallel_runtime()
    int fastln_get_num_threads()
    int fastln_set_num_threads(int n)
    void fastln_parallel_careless(int on)

cdef extern from "cells.h" nogil:
    void fastln_run_step(const fastln_step *step)
    bint fastln_step_is_long(const fastln_step *step)

cdef extern from *:
    """
    #if defined(__clang__)
    #define FASTLN_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define FASTLN_COMPILER "GCC " __VERSION__
    #elif defined(_MSC_VER)
    #define FASTLN_COMPILER "MSVC"
    #else
    #define FASTLN_COMPILER "unknown"
    #endif
    """
    const char *FASTLN_COMPILER

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArray_Descr:
        PyTypeObject *typeobj
    PyArray_Descr *PyArray_DESCR(ndarray)
    # As numpy's own pxd has it, but for the last argument: there None would stand for NULL, and is not.
    object PyArray_New(PyTypeObject *subtype, int ndim, const npy_intp *shape, int type_num, const npy_intp *strides,
                       void *data, int itemsize, int flags, void *like)
    PyTypeObject PyArray_Type

cdef extern from *:
    """
    /* Calls of instances go to their own function: what Cython has no words for. */
    typedef PyObject *(*vectorcall_function)(PyObject *, PyObject **, size_t, PyObject *);
    #define vectorcall_offset() offsetof(struct __pyx_obj_6fastln_5_core__Norm, vectorcall)
    static void set_vectorcall(PyTypeObject *type, Py_ssize_t offset) {
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
        PyType_Modified(type);
    }
    """
    ctypedef void *vectorcall_function
    Py_ssize_t vectorcall_offset()
    void set_vectorcall(PyTypeObject *type, Py_ssize_t offset)
    Py_ssize_t PyVectorcall_NARGS(size_t)

cdef object AxisError = getattr(np, "exceptions", np).AxisError  # moved in NumPy 1.25
cdef object LAST_AXIS = -1
cdef object NO_OFFSET = 0.0
cdef str OUT = "out"  # interned, as the names of keyword arguments are
cdef tuple WEIGHT_NAMES = ("weight", "gamma")
cdef tuple BIAS_NAMES = ("bias", "beta")
cdef str ACCEPTED = "float16, bfloat16, float32, float64, bool or an integer dtype"

cdef enum:
    # Values. Parts of a row that are shorter are repeated in memory: they are not worth the start of a loop.
    SHORT_PART = 16  # with one weight each,
    SHORT_VECTOR = 512  # or with one for each value

    # Lengths of rows that a prepared object takes without further checks, if it is not one length.
    ANY = -1
    NONE = 0


# --- Reading the arguments -------------------------------------------------------------------------------------------

cdef bint is_bfloat16(ndarray a) except -1:
    # Known by its name, as its type number depends on what else was registered before, and ml_dtypes is not imported.
    if not PyArray_ISUSERDEF(a):
        return False
    cdef PyTypeObject *scalar = PyArray_DESCR(a).typeobj
    if strcmp(scalar.tp_name, b"ml_dtypes.bfloat16") == 0:
        return True
    return strcmp(scalar.tp_name, b"bfloat16") == 0 and (<object>scalar).__module__ == "ml_dtypes"  # before 0.5


cdef int result_type(ndarray a, str name) except -1:
    """The type number of what is computed from `a`: its own for the float types, float64 for bool and the integers."""
    cdef int type_num = PyArray_TYPE(a)
    if type_num == NPY_FLOAT32 or type_num == NPY_FLOAT64 or type_num == NPY_FLOAT16 or is_bfloat16(a):
        return type_num
    if type_num <= NPY_ULONGLONG:
        return NPY_FLOAT64
    raise TypeError(f"{name}: expected {ACCEPTED}, got {a.dtype}")


cdef fastln_dtype kernel_dtype(int type_num) noexcept:
    return (FASTLN_f32 if type_num == NPY_FLOAT32 else FASTLN_f64 if type_num == NPY_FLOAT64 else
            FASTLN_f16 if type_num == NPY_FLOAT16 else FASTLN_bf16)


cdef npy_intp size_of(int type_num) noexcept:
    return 8 if type_num == NPY_FLOAT64 else 4 if type_num == NPY_FLOAT32 else 2


cdef ndarray as_array(object a, str name):
    if PyArray_CheckExact(a):
        return <ndarray>a
    if isinstance(a, ndarray) and isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected {ACCEPTED}, got a masked array")
    try:
        return np.asarray(a)
    except ValueError as why:  # such as rows of several lengths
        raise ValueError(f"{name}: expected an array, got a {type(a).__name__} of which NumPy makes none: {why}") from None


cdef double as_number(object value, str name) except? -1:
    if PyFloat_CheckExact(value):
        return PyFloat_AS_DOUBLE(value)
    try:
        if not np.iscomplexobj(value):  # NumPy would drop the imaginary part
            return value
    except OverflowError:
        raise ValueError(f"{name}: expected a number in the range of float64, got a larger one") from None
    except TypeError:
        pass
    raise TypeError(f"{name}: expected a real number, got {type(value).__name__}")


cdef bint as_bool(object value, str name) except -1:
    if value is True or value is False:
        return value is True
    try:
        return bool(value)
    except ValueError:  # an array
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}") from None


cdef double as_eps(object value) except -1:
    cdef double eps = as_number(value, "eps")
    if not (isfinite(eps) and eps >= 0):
        raise ValueError(f"eps: expected a finite number >= 0, got {value}")
    return eps


cdef double as_offset(object value, bint has_weight) except? -1:
    cdef double offset = as_number(value, "weight_offset")
    if not isfinite(offset):
        raise ValueError(f"weight_offset: expected a finite number, got {value}")
    if offset != 0 and not has_weight:
        raise ValueError(f"weight_offset: expected 0.0 without a weight, got {value}")
    return offset


cdef uint64_t as_axes(object axis, int ndim) except 0:
    """The set of the axes, one bit each."""
    cdef uint64_t axes = 0
    cdef Py_ssize_t i
    if axis is LAST_AXIS and ndim > 0:  # the usual one, without a loop over Python objects
        return <uint64_t>1 << (ndim - 1)
    for item in axis if isinstance(axis, (tuple, list)) else (axis,):
        try:
            i = operator.index(item)
        except OverflowError:
            raise AxisError(item, ndim) from None
        except TypeError:
            raise TypeError(f"axis: expected an int or a tuple of ints, got {axis!r}") from None
        if not -ndim <= i < ndim:
            raise AxisError(item, ndim)
        i += ndim if i < 0 else 0
        if axes >> i & 1:
            raise ValueError(f"axis: expected each axis once, got {axis!r} for {ndim} dimensions")
        axes |= <uint64_t>1 << i
    if not axes:
        raise ValueError(f"axis: expected at least one axis, got {axis!r}")
    return axes


cdef bint has_shape_of(ndarray a, ndarray x, uint64_t axes) noexcept:
    """Whether the shape of `a` is that of those axes of x."""
    cdef int axis, i = 0, ndim = PyArray_NDIM(a)
    for axis in range(PyArray_NDIM(x)):
        if axes >> axis & 1:
            if i >= ndim or PyArray_DIMS(a)[i] != PyArray_DIMS(x)[axis]:
                return False
            i += 1
    return i == ndim


cdef tuple shape_of(ndarray x, uint64_t axes):
    return tuple([PyArray_DIMS(x)[axis] for axis in range(PyArray_NDIM(x)) if axes >> axis & 1])


cdef list shape_along(ndarray x, uint64_t axes):
    """x's shape, but for 1 along the others."""
    return [PyArray_DIMS(x)[axis] if axes >> axis & 1 else 1 for axis in range(PyArray_NDIM(x))]


cdef bint is_repeated(ndarray a, ndarray x, uint64_t repeated) noexcept:
    """Whether `a` has x's axes, but for size 1 where it is repeated along one of those."""
    cdef int axis
    if PyArray_NDIM(a) != PyArray_NDIM(x):
        return False
    for axis in range(PyArray_NDIM(x)):
        if PyArray_DIMS(a)[axis] != PyArray_DIMS(x)[axis] and not (PyArray_DIMS(a)[axis] == 1 and repeated >> axis & 1):
            return False
    return True


cdef bint has_dense_rows(ndarray a, uint64_t axes) noexcept:
    """Whether the values along those axes lie side by side in C order."""
    cdef npy_intp size = PyArray_ITEMSIZE(a)
    cdef int axis
    for axis in reversed(range(PyArray_NDIM(a))):
        if axes >> axis & 1 and PyArray_DIMS(a)[axis] != 1:
            if PyArray_STRIDES(a)[axis] != size:
                return False
            size *= PyArray_DIMS(a)[axis]
    return True


cdef ndarray as_vector(object a, str name, ndarray x, uint64_t axes, int type_num, bint by_channel=False):
    """Weight or bias as a kernel reads it: of that type, its values along a row side by side in C order. One for all rows; or
    with x's axes, and repeated along some: others than those, or, by_channel, any."""
    cdef ndarray v = as_array(a, name)
    cdef bint one = has_shape_of(v, x, axes)
    if not one and not is_repeated(v, x, <uint64_t>-1 if by_channel else ~axes):
        raise ValueError(f"{name}: expected shape {shape_of(x, axes)}{repeated_shape(v, x, axes)}, "
                         f"got {shape_of(v, <uint64_t>-1)}")
    if PyArray_TYPE(v) == type_num and is_plain(v) and (
            PyArray_IS_C_CONTIGUOUS(v) if one else has_dense_rows(v, axes)):
        return v
    if result_type(v, name) == NPY_FLOAT64 and PyArray_TYPE(v) != NPY_FLOAT64:  # integers count as float64 first
        v = PyArray_FROM_OTF(v, NPY_FLOAT64, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)
    v = PyArray_FROM_OTF(v, type_num, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_FORCECAST)
    if one or has_dense_rows(v, axes):
        return v
    row_axes = [axis for axis in range(PyArray_NDIM(x)) if axes >> axis & 1]
    last = list(range(-len(row_axes), 0))
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(v, row_axes, last)), last, row_axes)


cdef str repeated_shape(ndarray v, ndarray x, uint64_t axes):
    """What else could be expected of a weight with as many axes as x."""
    if PyArray_NDIM(v) != PyArray_NDIM(x) or has_shape_of(x, x, axes):
        return ""
    sizes = [str(PyArray_DIMS(x)[axis]) if axes >> axis & 1 or PyArray_DIMS(x)[axis] == 1 else
             f"1 or {PyArray_DIMS(x)[axis]}" for axis in range(PyArray_NDIM(x))]
    return f" or ({', '.join(sizes)})"


cdef ndarray as_weight(object weight, ndarray x, uint64_t axes, int type_num, double offset, bint by_channel):
    """None, or the weight with the offset added, before it is rounded."""
    if weight is None:
        return None
    if offset == 0:
        return as_vector(weight, "weight", x, axes, type_num, by_channel)
    cdef ndarray v = as_array(weight, "weight")
    if PyArray_NDIM(v) == PyArray_NDIM(x):  # a broadcast weight as what it was made of: its sum is no view
        v = v[tuple([slice(0, 1) if PyArray_STRIDES(v)[axis] == 0 and not axes >> axis & 1 else slice(None)
                     for axis in range(PyArray_NDIM(v))])]
    wide = np.add(as_vector(v, "weight", x, axes, NPY_FLOAT64, by_channel), offset)
    return as_vector(wide, "weight", x, axes, type_num, by_channel)


cdef ndarray as_bias(object bias, ndarray x, uint64_t axes, int type_num, bint by_channel):
    return None if bias is None else as_vector(bias, "bias", x, axes, type_num, by_channel)


cdef struct parameter_steps:
    npy_intp[FASTLN_MAX_AXES] weight, bias, stat


cdef void set_parameters(fastln_arrays *arrays, parameter_steps *steps, ndarray x, uint64_t axes, ndarray weight,
                         ndarray bias, ndarray stat) noexcept:
    """What the layout has to know of them; `steps` is their memory."""
    arrays.normalized = axes
    arrays.weight_strides = arrays.bias_strides = arrays.stat_strides = NULL
    if weight is not None:
        steps_of(weight, x, axes, steps.weight)
        arrays.weight_strides = steps.weight
    if bias is not None:
        steps_of(bias, x, axes, steps.bias)
        arrays.bias_strides = steps.bias
    if stat is not None:
        steps_of(stat, x, axes, steps.stat)
        arrays.stat_strides = steps.stat


cdef void steps_of(ndarray a, ndarray x, uint64_t axes, npy_intp *strides) noexcept:
    """The strides of a weight, a bias or given statistics along x's axes."""
    cdef int axis
    cdef bint one = PyArray_NDIM(a) != PyArray_NDIM(x) or has_shape_of(a, x, axes)
    for axis in range(PyArray_NDIM(x)):
        strides[axis] = 0 if one or axes >> axis & 1 or PyArray_DIMS(a)[axis] == 1 else PyArray_STRIDES(a)[axis]


cdef ndarray as_parts(ndarray v, ndarray x, uint64_t axes, fastln_task *task):
    """Weight or bias with x's axes, to be repeated along some of a row's: the first ones or the last ones. Says how in the
    task; returns it with short parts repeated in memory."""
    cdef npy_intp n, length = 1, values = 1, inner = 1, count
    cdef bint full = False  # whether there is an axis further in where it has all values
    cdef int axis, last = -1
    for axis in reversed(range(PyArray_NDIM(x))):
        n = PyArray_DIMS(v)[axis]
        if axes >> axis & 1 and PyArray_DIMS(x)[axis] != 1:
            length *= PyArray_DIMS(x)[axis]
            values *= n
            full = full or n != 1
            inner *= 1 if full else PyArray_DIMS(x)[axis]
            last = axis if full and last < 0 else last
    task.form = FASTLN_EACH
    task.part = task.part_step = 0
    if values == length:
        return v
    if values == 1:
        task.form = FASTLN_SPREAD
        return v
    if inner != 1 and values * inner != length:  # repeated on both sides, by channels in the middle: in memory on one
        v = np.repeat(v, inner, axis=last)
        values *= inner
        inner = 1
    if inner == 1:  # the same again and again
        count = min(SHORT_VECTOR // values + 1, length // values)
        task.part = count * values
        return v if count == 1 else np.tile(v, [count if i == last else 1 for i in range(PyArray_NDIM(x))])
    if inner >= SHORT_PART:
        task.form = FASTLN_SPREAD
        task.part = inner
        task.part_step = 1
        return v
    return np.repeat(v, inner, axis=last)


cdef int check_out(object out, ndarray x, int type_num, str name="out") except -1:
    if not PyArray_Check(out):
        raise TypeError(f"{name}: expected a NumPy array, got {type(out).__name__}")
    cdef ndarray y = <ndarray>out
    if not PyArray_CheckExact(out):
        as_array(out, name)  # raises for a masked one
    if PyArray_TYPE(y) != type_num or not PyArray_ISNOTSWAPPED(y):
        raise TypeError(f"{name}: expected dtype {empty(0, NULL, NULL, 0, type_num).dtype}, got {y.dtype}")
    if not has_shape_of(y, x, <uint64_t>-1):
        raise ValueError(f"{name}: expected shape {shape_of(x, <uint64_t>-1)}, got {shape_of(y, <uint64_t>-1)}")
    if not PyArray_ISWRITEABLE(y):
        raise ValueError(f"{name}: expected a writeable array, got a read-only one")
    return 0


# --- Memory ----------------------------------------------------------------------------------------------------------

cdef bint is_plain(ndarray a) noexcept:
    """Whether a kernel can read the items as they are."""
    return PyArray_ISALIGNED(a) and PyArray_ISNOTSWAPPED(a)


cdef bint share(ndarray a, npy_intp a_size, ndarray b, npy_intp b_size) except -1:
    """Whether writing to one may change the other; the sizes in bytes. Only for what is not C-contiguous is it worth
    NumPy's test, which is made with the effort that its ufuncs make."""
    cdef const char *p = <const char *>PyArray_DATA(a)
    cdef const char *q = <const char *>PyArray_DATA(b)
    if PyArray_IS_C_CONTIGUOUS(a) and PyArray_IS_C_CONTIGUOUS(b):
        return p < q + b_size and q < p + a_size
    return np.may_share_memory(a, b, max_work=1)


cdef ndarray reshaped(ndarray a, shape):
    """As NumPy's method does, which takes four times as long to read its arguments."""
    cdef npy_intp[FASTLN_MAX_AXES] numbers
    cdef PyArray_Dims dims
    cdef int i
    dims.ptr, dims.len = numbers, len(shape)
    for i in range(dims.len):
        numbers[i] = shape[i]
    return PyArray_Newshape(a, &dims, NPY_CORDER)


cdef bint same(ndarray a, ndarray b) noexcept:
    """Whether they are one array, given that their shapes are equal."""
    if PyArray_DATA(a) != PyArray_DATA(b):
        return False
    for axis in range(PyArray_NDIM(a)):
        if PyArray_STRIDES(a)[axis] != PyArray_STRIDES(b)[axis] and PyArray_DIMS(a)[axis] != 1:
            return False
    return True


cdef void dense_strides(int ndim, const npy_intp *shape, const int *order, npy_intp itemsize, npy_intp *strides) noexcept:
    """The strides of an array without holes whose axes lie in memory in that order, outermost first."""
    for i in reversed(range(ndim)):
        strides[order[i]] = itemsize
        itemsize *= max(shape[order[i]], 1)


cdef ndarray empty(int ndim, const npy_intp *shape, const int *order, uint64_t without, int type_num):
    """A new array of the axes that are not in `without`; they lie in memory in that order, outermost first."""
    cdef npy_intp[FASTLN_MAX_AXES] new_shape, new_strides, strides
    cdef int[FASTLN_MAX_AXES] kept
    cdef int i, n = 0
    for i in range(ndim):
        if not without >> order[i] & 1:
            kept[n] = order[i]
            n += 1
    dense_strides(n, shape, kept, size_of(type_num), strides)
    n = 0
    for i in range(ndim):
        if not without >> i & 1:
            new_shape[n] = shape[i]
            new_strides[n] = strides[i]
            n += 1
    return PyArray_New(&PyArray_Type, n, new_shape, type_num, new_strides, NULL, 0, 0, NULL)


cdef ndarray arrange(fastln_task *task, fastln_arrays *arrays, ndarray x, ndarray given, int type_num, int *order,
                     bint *copy):
    """Finds the layout of any x; returns the array to compute into, which is `given` (out) if possible. copy: whether x is
    to be copied there first."""
    cdef ndarray y = given
    arrays.ndim = PyArray_NDIM(x)
    arrays.shape = PyArray_DIMS(x)
    arrays.x_strides = PyArray_STRIDES(x)
    arrays.aligned = True
    copy[0] = PyArray_TYPE(x) != type_num or not PyArray_ISNOTSWAPPED(x)
    if given is None or not copy[0] and not same(x, given) and share(
            x, PyArray_NBYTES(x), given, PyArray_NBYTES(given)):
        # Only to learn in which order x's axes lie in memory: so do those of y.
        arrays.y_strides = arrays.x_strides
        arrays.item_size = PyArray_ITEMSIZE(x)
        fastln_describe(task, arrays, order)
        y = empty(arrays.ndim, arrays.shape, order, 0, type_num)
    if copy[0]:
        arrays.x_strides = PyArray_STRIDES(y)
    arrays.y_strides = PyArray_STRIDES(y)
    arrays.item_size = size_of(type_num)
    arrays.aligned = PyArray_ISALIGNED(y) and (copy[0] or PyArray_ISALIGNED(x))
    fastln_describe(task, arrays, order)
    return y


cdef void side_by_side(fastln_task *task, npy_intp size) noexcept:
    """The statistics of the rows, one after the other."""
    cdef int axis
    for axis in reversed(range(task.ndim)):
        task.strides[axis].stat = size
        size *= task.shape[axis]


# --- The way through -------------------------------------------------------------------------------------------------

cdef bint are_plain_rows(ndarray x, ndarray y, npy_intp size, int type_num) except -1:
    """Whether kernels can take x of so many bytes as it is, in C order, and y, which is None if it will be new."""
    return (PyArray_TYPE(x) == type_num and is_plain(x) and PyArray_IS_C_CONTIGUOUS(x)
            and (y is None or is_plain(y) and PyArray_IS_C_CONTIGUOUS(y)
                 and (PyArray_DATA(y) == PyArray_DATA(x) or not share(x, size, y, size))))


cdef void describe_rows(fastln_task *task, Py_ssize_t rows, Py_ssize_t length) noexcept nogil:
    fastln_describe_rows(task, rows, length)


cdef int run(const fastln_task *task) noexcept nogil:
    return fastln_run(task)


cdef void run_step(const fastln_step *step) noexcept nogil:
    fastln_run_step(step)


cdef bint step_is_long(const fastln_step *step) noexcept nogil:
    return fastln_step_is_long(step)


cdef int compute(fastln_task *task, fastln_operation operation, double eps, ndarray x, ndarray y, ndarray weight,
                 ndarray bias, ndarray mean, ndarray rstd) except -1:
    """Runs a task whose layout is described."""
    set_arrays(task, operation, eps, x, y, weight, bias, mean, rstd)
    return run_task(task, NULL, NULL)


cdef void set_arrays(fastln_task *task, fastln_operation operation, double eps, ndarray x, ndarray y, ndarray weight,
                     ndarray bias, ndarray mean, ndarray rstd) noexcept:
    task.operation = operation
    task.eps = eps
    task.x = PyArray_DATA(x)
    task.y = NULL if y is None else PyArray_DATA(y)
    task.weight = NULL if weight is None else PyArray_DATA(weight)
    task.bias = NULL if bias is None else PyArray_DATA(bias)
    task.mean = NULL if mean is None else PyArray_DATA(mean)
    task.rstd = NULL if rstd is None else PyArray_DATA(rstd)


cdef int run_task(fastln_task *task, const void *x, const void *residual) except -1:
    """x and residual: whose sum the task's x is to become, or NULL."""
    cdef int failed
    if fastln_is_long(task):  # for less, giving the GIL up costs more than it gains: milliseconds beside a busy thread
        with nogil:
            failed = run(task) if residual == NULL else fastln_run_added(task, x, residual)
    else:
        failed = run(task) if residual == NULL else fastln_run_added(task, x, residual)
    if failed:
        raise MemoryError("no memory for the part of x at work")
    return 0


cdef object normalize(fastln_operation operation, object x, object weight, object bias, object eps, object axis,
                      object out, object return_stats, object subtract_mean, object weight_offset,
                      fastln_form form=FASTLN_EACH, bint by_channel=False, ndarray mean=None, ndarray rstd=None):
    """All but what only finds moments. by_channel: weight and bias have x's axes and are repeated along some. mean and rstd are
    those of FASTLN_normalize, contiguous, with x's axes, too."""
    cdef fastln_task task  # large, so only what is used gets a value
    cdef fastln_arrays arrays
    cdef int[FASTLN_MAX_AXES] order
    cdef parameter_steps steps
    cdef ndarray y, w, b, given = None
    cdef npy_intp length = 1, rows = 1, size
    cdef int i
    cdef bint copy = False, usual

    cdef ndarray source = as_array(x, "x")
    cdef int type_num = result_type(source, "x")
    cdef int compute_type = NPY_FLOAT64 if type_num == NPY_FLOAT64 else NPY_FLOAT32
    cdef int ndim = PyArray_NDIM(source)
    cdef npy_intp *shape = PyArray_DIMS(source)
    cdef uint64_t axes = as_axes(axis, ndim)
    cdef double offset = as_offset(weight_offset, weight is not None)
    cdef double number = as_eps(eps)
    cdef bint with_stats = as_bool(return_stats, "return_stats")
    task.subtract_mean = as_bool(subtract_mean, "subtract_mean")
    task.dtype = kernel_dtype(type_num)
    task.wide = False
    w = as_weight(weight, source, axes, compute_type, offset, by_channel)
    b = as_bias(bias, source, axes, compute_type, by_channel)
    if out is not None:
        check_out(out, source, type_num)
        given = <ndarray>out

    for i in range(ndim):
        order[i] = i
        if axes >> i & 1:
            length *= shape[i]
        else:
            rows *= shape[i]
    if length * rows == 0:
        y = empty(ndim, shape, order, 0, type_num) if given is None else given
        if with_stats:
            mean = empty(ndim, shape, order, axes, compute_type)
            mean.fill(np.nan)
            rstd = mean.copy()
        return result(operation, y, mean, rstd if with_stats else None)
    size = length * rows * size_of(type_num)
    if given is not None:
        if w is not None and share(w, PyArray_NBYTES(w), given, size):
            w = as_vector(w.copy(), "weight", source, axes, compute_type, by_channel)
        if b is not None and share(b, PyArray_NBYTES(b), given, size):
            b = as_vector(b.copy(), "bias", source, axes, compute_type, by_channel)
        if mean is not None and share(mean, PyArray_NBYTES(mean), given, size):
            mean = mean.copy()
        if rstd is not None and share(rstd, PyArray_NBYTES(rstd), given, size):
            rstd = rstd.copy()
    usual = (form == FASTLN_EACH and rstd is None
             and (w is None or has_shape_of(w, source, axes)) and (b is None or has_shape_of(b, source, axes)))
    if (usual and axes + (axes & -axes) == <uint64_t>2 << (ndim - 1)  # the last axes
            and are_plain_rows(source, given, size, type_num)):
        y = empty(ndim, shape, order, 0, type_num) if given is None else given
        describe_rows(&task, rows, length)
    else:
        task.form = form
        task.part = 0
        if by_channel:
            w = None if w is None else as_parts(w, source, axes, &task)
            b = None if b is None else as_parts(b, source, axes, &task)
        if form == FASTLN_ADA:
            task.form = form
        set_parameters(&arrays, &steps, source, axes, w, b, rstd)
        y = arrange(&task, &arrays, source, given, type_num, order, &copy)
    if with_stats:
        rstd = empty(ndim, shape, order, axes, compute_type)
        if operation == FASTLN_layer_norm:
            mean = empty(ndim, shape, order, axes, compute_type)
        side_by_side(&task, size_of(compute_type))
    fastln_order_rows(&task)
    if copy:
        PyArray_CopyInto(y, source)
        source = y

    compute(&task, operation, number, source, y, w, b, mean, rstd)
    if given is not None and y is not given:
        PyArray_CopyInto(given, y)
        y = given
    return result(operation, y, mean, rstd if with_stats else None)


cdef object result(fastln_operation operation, ndarray y, ndarray mean, ndarray rstd):
    if rstd is None:
        return y
    return (y, mean, rstd) if operation == FASTLN_layer_norm else (y, rstd)


def layer_norm(x, weight=None, bias=None, eps=1e-5, *, axis=-1, out=None, return_stats=False,
               subtract_mean=True, weight_offset=0.0):
    """Layer normalization.

    Over the normalized axes of ``x``, with the biased variance::

        y = (x - mean(x)) / sqrt(var(x) + eps) * (weight + weight_offset) + bias

    Parameters
    ----------
    x : array_like
        float16, float32, float64 or ``ml_dtypes.bfloat16``, of any shape but 0-d, any strides and byte order. The half
        types are computed in float32 and rounded once. bool and integers are taken as float64.
    weight, bias : array_like, optional
        Of the shape of the normalized axes, in the order in which x has them; or with as many axes as x, of size 1 where
        they are repeated along one that is not normalized, such as (B, 1, H) for x of (B, T, H). Each can be left out on
        its own.
    eps : float
        Added to the variance; finite and not negative.
    axis : int or tuple of int
        The axes to normalize over, together; their order means nothing.
    out : ndarray, optional
        Where the result goes: an array of x's shape and the result's dtype, with any strides. It may be x, or overlap x,
        weight or bias in any other way.
    return_stats : bool
        Also return the mean and ``1 / sqrt(var + eps)`` of every row.
    subtract_mean : bool
        False leaves the mean in: ``y = x / sqrt(var(x) + eps) * weight + bias``, where var is about the mean all the
        same (the bias-free norm of Restormer [2]_).
    weight_offset : float
        Added to the weight before it is rounded to the precision of the computation: 1.0 for modulation as in diffusion
        transformers [3]_, ``(1 + scale) * norm(x) + shift``. Needs a weight.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.
    mean, rstd : ndarray
        With `return_stats` only: without the normalized axes; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError
        If an argument is not of an accepted dtype or kind.
    ValueError
        If a shape does not fit, an axis is repeated, `eps` is out of range or `out` is read-only.
    numpy.exceptions.AxisError
        If x has no such axis.

    Notes
    -----
    The result of a row depends on the row and on the parameters only, not on the other rows, the number of threads or
    the instruction set. A NaN or an infinity makes its own row NaN and no other. Nothing is written when a call raises,
    unless it is a MemoryError.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
    .. [2] S. W. Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", 2021,
       arXiv:2111.09881.
    .. [3] W. Peebles, S. Xie, "Scalable Diffusion Models with Transformers", 2022, arXiv:2212.09748.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> fastln.layer_norm([[1.0, 3.0], [5.0, 5.0]], eps=0.0)
    array([[-1.,  1.],
           [ 0.,  0.]])
    >>> images = np.ones((2, 3, 4, 4), np.float32)
    >>> fastln.layer_norm(images, axis=1).shape
    (2, 3, 4, 4)
    """
    return normalize(FASTLN_layer_norm, x, weight, bias, eps, axis, out, return_stats, subtract_mean, weight_offset)


def rms_norm(x, weight=None, eps=1e-6, *, axis=-1, out=None, return_stats=False, weight_offset=0.0):
    """Root mean square layer normalization.

    Over the normalized axes of ``x``::

        y = x / sqrt(mean(x ** 2) + eps) * (weight + weight_offset)

    Parameters
    ----------
    x, weight, eps, axis, out
        As in `layer_norm`.
    return_stats : bool
        Also return ``1 / sqrt(mean(x ** 2) + eps)`` of every row.
    weight_offset : float
        Added to the weight before it is rounded to the precision of the computation: 1.0 for networks that store the
        weight's distance from one, as Gemma. Needs a weight.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.
    rstd : ndarray
        With `return_stats` only: without the normalized axes; float64 for float64 and float32 for the others.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Notes
    -----
    A NaN or an infinity makes its whole row NaN, and no other row. For the rest see `layer_norm`.

    References
    ----------
    .. [1] B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467.

    Examples
    --------
    >>> import fastln
    >>> fastln.rms_norm([[3.0, -3.0], [0.0, 0.0]], weight=[1.0, 2.0], eps=1e-300)
    array([[ 1., -2.],
           [ 0.,  0.]])
    """
    return normalize(FASTLN_rms_norm, x, weight, None, eps, axis, out, return_stats, False, weight_offset)


# --- What the rest of the family is made of: fastln/_family.py ---------------------------------------------------------

cdef object moments_of(ndarray x, uint64_t axes):
    cdef fastln_task task
    cdef fastln_arrays arrays
    cdef int[FASTLN_MAX_AXES] order
    cdef int i, type_num = result_type(x, "x"), ndim = PyArray_NDIM(x)
    cdef parameter_steps steps
    cdef ndarray mean, var
    if PyArray_TYPE(x) != type_num or not PyArray_ISNOTSWAPPED(x):
        x = PyArray_FROM_OTF(x, type_num, NPY_ARRAY_ALIGNED)
    for i in range(ndim):
        order[i] = i
    mean = empty(ndim, PyArray_DIMS(x), order, axes, NPY_FLOAT64)
    var = empty(ndim, PyArray_DIMS(x), order, axes, NPY_FLOAT64)
    if PyArray_NBYTES(x) == 0:
        mean.fill(np.nan)
        var.fill(np.nan)
        return mean, var
    task.dtype = kernel_dtype(type_num)
    task.subtract_mean = task.wide = True
    task.form = FASTLN_EACH
    task.part = 0
    arrays.ndim = ndim
    arrays.shape = PyArray_DIMS(x)
    arrays.x_strides = arrays.y_strides = PyArray_STRIDES(x)
    arrays.item_size = PyArray_ITEMSIZE(x)
    arrays.aligned = PyArray_ISALIGNED(x)
    set_parameters(&arrays, &steps, x, axes, None, None, mean.reshape(shape_along(x, ~axes)))
    fastln_describe(&task, &arrays, order)
    compute(&task, FASTLN_layer_norm, 0, x, None, None, None, mean, var)
    return mean, var


def _moments(x, axis):
    """Mean and variance over the axes, in float64."""
    cdef ndarray source = as_array(x, "x")
    result_type(source, "x")
    return moments_of(source, as_axes(axis, PyArray_NDIM(source)))


def _by_channel(x, weight, bias, eps, axis, out):
    """layer_norm with a weight and a bias of x's number of axes, repeated along any of them."""
    return normalize(FASTLN_layer_norm, x, weight, bias, eps, axis, out, False, True, NO_OFFSET, FASTLN_EACH, True)


def _ada(x, double weight, double bias, eps, axis, out):
    """t * (t * weight + bias), t being the normalized x."""
    cdef ndarray source = as_array(x, "x")
    cdef bint wide = result_type(source, "x") == NPY_FLOAT64
    if max(abs(weight), abs(bias)) > (DBL_MAX if wide else FLT_MAX):
        dtype = "float64" if wide else "float32"
        raise ValueError(f"c and k: expected c and c * k in the range of {dtype}, got {bias} and {-weight}")
    cdef list one = [1] * PyArray_NDIM(source)
    cdef ndarray weights = reshaped(np.array(weight), one), biases = reshaped(np.array(bias), one)
    return normalize(FASTLN_layer_norm, source, weights, biases, eps, axis, out, False, True, NO_OFFSET, FASTLN_ADA, True)


def _given(x, ndarray mean, ndarray rstd, shape, weight, bias, axis, out, by_channel):
    """(x - mean) * rstd * weight + bias; mean, or None, and rstd are C-contiguous float64 arrays, taken in that shape of x's
    number of axes."""
    return normalize(FASTLN_normalize, x, weight, bias, 0.0, axis, out, False, True, NO_OFFSET, FASTLN_EACH, by_channel,
                     None if mean is None else reshaped(mean, shape), reshaped(rstd, shape))


def _normalize(x, mean, rstd, weight, bias, axis, out):
    """The same; mean and rstd of x's shape without those axes."""
    cdef ndarray source = as_array(x, "x")
    result_type(source, "x")
    cdef uint64_t axes = as_axes(axis, PyArray_NDIM(source))
    cdef tuple rows = shape_of(source, ~axes)
    cdef list shape = shape_along(source, ~axes)
    return _given(source, None if mean is None else _statistics(mean, "mean", rows), _statistics(rstd, "rstd", rows),
                  shape, weight, bias, axis, out, False)


def _rstd(ndarray var, double eps):
    """1 / sqrt(var + eps) of a C-contiguous (C,) of float64: NumPy would warn of zeros."""
    cdef int first = 0
    cdef ndarray rstd = empty(1, PyArray_DIMS(var), &first, 0, NPY_FLOAT64)
    cdef const double *v = <const double *>PyArray_DATA(var)
    cdef double *r = <double *>PyArray_DATA(rstd)
    cdef npy_intp i
    for i in range(PyArray_SIZE(var)):
        r[i] = 1 / sqrt(v[i] + eps)
    return rstd


def _merge_channels(ndarray means, ndarray variances, npy_intp together, double eps):
    """For each of so many channels side by side, the mean of all of these and 1 / sqrt(var + eps), from the moments of each:
    Chan's formula for pieces of one size, about the first mean, so that sums have the size of the differences."""
    cdef ndarray mean = np.empty_like(means), rstd = np.empty_like(means)
    cdef const double *m = <const double *>PyArray_DATA(means)
    cdef const double *v = <const double *>PyArray_DATA(variances)
    cdef double *to_mean = <double *>PyArray_DATA(mean)
    cdef double *to_rstd = <double *>PyArray_DATA(rstd)
    cdef double middle, spread
    cdef npy_intp first, i
    for first in range(0, PyArray_SIZE(means), together):
        middle = spread = 0
        for i in range(first, first + together):
            middle += m[i] - m[first]
        middle = m[first] + middle / together
        for i in range(first, first + together):
            spread += v[i] + (m[i] - middle) * (m[i] - middle)
        spread = 1 / sqrt(spread / together + eps)
        for i in range(first, first + together):
            to_mean[i] = middle
            to_rstd[i] = spread
    return mean, rstd


def _as_array(a, str name):
    """As an array of an accepted dtype."""
    cdef ndarray array = as_array(a, name)
    result_type(array, name)
    return array


def _as_index(axis, str name):
    try:
        return operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {axis!r}") from None


def _as_axis(axis, str name, int ndim):
    """The number of one axis, from 0 on."""
    index = _as_index(axis, name)
    if not -ndim <= index < ndim:
        raise AxisError(axis, ndim)
    return index if index >= 0 else index + ndim


def _per_channel(a, str name, npy_intp channels, shape):
    """A weight or bias of (channels,), as an array of that shape; or None."""
    if a is None:
        return None
    cdef ndarray array = as_array(a, name)
    result_type(array, name)
    if PyArray_NDIM(array) != 1 or PyArray_DIMS(array)[0] != channels:
        raise ValueError(f"{name}: expected shape {(channels,)}, got {(<object>array).shape}")
    return reshaped(array, shape)


def _statistics(a, str name, tuple shape):
    """An array of that shape, in float64 and C-contiguous."""
    cdef ndarray array = as_array(a, name)
    result_type(array, name)
    if (<object>array).shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {(<object>array).shape}")
    return PyArray_FROM_OTF(array, NPY_FLOAT64, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_FORCECAST)


def _find(mapping, str prefix, tuple names):
    return find(mapping, prefix, names)


def _as_eps(eps):
    return as_eps(eps)


def _as_number(value, str name):
    return as_number(value, name)


def _check_out(out, ndarray x):
    check_out(out, x, result_type(x, "x"))


cdef bint are_rows(ndarray a, int type_num) noexcept:
    return PyArray_TYPE(a) == type_num and is_plain(a) and PyArray_IS_C_CONTIGUOUS(a)


cdef bint apart(ndarray a, ndarray b, npy_intp size) except -1:
    """Whether two arrays of that many bytes are one, or share nothing."""
    return PyArray_DATA(a) == PyArray_DATA(b) or not share(a, size, b, size)


cdef object add_normalize(fastln_operation operation, object x, object residual, object weight, object bias, object eps,
                          object weight_offset, object out, object sum_out):
    cdef fastln_task task
    cdef fastln_arrays arrays
    cdef int[FASTLN_MAX_AXES] order
    cdef parameter_steps steps
    cdef ndarray y, s, w, b
    cdef int i

    cdef ndarray source = as_array(x, "x"), other = as_array(residual, "residual")
    cdef int type_num = result_type(source, "x")
    cdef int compute_type = NPY_FLOAT64 if type_num == NPY_FLOAT64 else NPY_FLOAT32
    cdef int ndim = PyArray_NDIM(source)
    cdef uint64_t axes = as_axes(LAST_AXIS, ndim)
    cdef double offset = as_offset(weight_offset, weight is not None)
    cdef double number = as_eps(eps)
    result_type(other, "residual")
    if not has_shape_of(other, source, <uint64_t>-1):
        raise ValueError(f"residual: expected shape {shape_of(source, <uint64_t>-1)}, got {shape_of(other, <uint64_t>-1)}")
    w = as_weight(weight, source, axes, compute_type, offset, False)
    b = as_bias(bias, source, axes, compute_type, False)
    if out is not None:
        check_out(out, source, type_num)
    if sum_out is not None:
        check_out(sum_out, source, type_num, "sum_out")
        if out is not None and share(<ndarray>out, PyArray_NBYTES(<ndarray>out), <ndarray>sum_out,
                                     PyArray_NBYTES(<ndarray>sum_out)):
            raise ValueError("sum_out: expected another array than out, got one that shares memory with it")

    for i in range(ndim):
        order[i] = i
    y = empty(ndim, PyArray_DIMS(source), order, 0, type_num) if out is None else <ndarray>out
    s = empty(ndim, PyArray_DIMS(source), order, 0, type_num) if sum_out is None else <ndarray>sum_out
    cdef npy_intp size = PyArray_NBYTES(y)
    if size == 0:
        return y, s
    for written in (y, s):
        if w is not None and share(w, PyArray_NBYTES(w), written, size):
            w = as_vector(w.copy(), "weight", source, axes, compute_type)
        if b is not None and share(b, PyArray_NBYTES(b), written, size):
            b = as_vector(b.copy(), "bias", source, axes, compute_type)
    if not (are_rows(source, type_num) and are_rows(other, type_num) and are_rows(y, type_num)
            and are_rows(s, type_num) and apart(source, y, size) and apart(source, s, size)
            and apart(other, y, size) and apart(other, s, size)):
        return add_apart(operation, source, other, w, b, number, y, s, compute_type)

    task.dtype = kernel_dtype(type_num)
    task.subtract_mean = True
    task.wide = False
    task.form = FASTLN_EACH
    task.part = 0
    arrays.ndim = ndim
    arrays.shape = PyArray_DIMS(y)
    arrays.x_strides = arrays.y_strides = PyArray_STRIDES(y)
    arrays.item_size = size_of(type_num)
    arrays.aligned = True
    set_parameters(&arrays, &steps, source, axes, w, b, None)
    fastln_describe(&task, &arrays, order)
    set_arrays(&task, operation, number, s, y, w, b, None, None)
    run_task(&task, PyArray_DATA(source), PyArray_DATA(other))
    return y, s


cdef object add_apart(fastln_operation operation, ndarray x, ndarray residual, ndarray weight, ndarray bias, double eps,
                      ndarray y, ndarray s, int compute_type):
    """Arrays that are no rows, or overlap, one step after the other. The sum takes an array of its own."""
    cdef ndarray total
    with np.errstate(all="ignore"):  # infinities are results like others
        total = np.add(PyArray_FROM_OTF(x, compute_type, NPY_ARRAY_FORCECAST),
                       PyArray_FROM_OTF(residual, compute_type, NPY_ARRAY_FORCECAST))
        s[...] = total
        if PyArray_TYPE(y) == compute_type:
            normalize(operation, total, weight, bias, eps, LAST_AXIS, y, False, True, NO_OFFSET)
        else:
            y[...] = normalize(operation, total, weight, bias, eps, LAST_AXIS, total, False, True, NO_OFFSET)
    return y, s


def add_layer_norm(x, residual, weight=None, bias=None, eps=1e-5, *, weight_offset=0.0, out=None, sum_out=None):
    """The sum of two arrays, and its layer normalization over the last axis, in one pass over memory::

        s = x + residual
        y = (s - mean(s)) / sqrt(var(s) + eps) * (weight + weight_offset) + bias

    Parameters
    ----------
    x, weight, bias, eps, weight_offset
        As in `layer_norm`.
    residual : array_like
        Of x's shape.
    out, sum_out : ndarray, optional
        Where y and s go: arrays of x's shape and the result's dtype that share no memory. Either may be x or residual:
        ``sum_out=residual`` brings a residual stream up to date in place.

    Returns
    -------
    y, s : ndarray
        `out` and `sum_out`, if given. Of half types s is rounded, but what is normalized is the sum in float32.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Notes
    -----
    At the speed of the memory for arrays in C order of one dtype, which are one or apart. Others give the same, by way of an
    array for the sum.

    Examples
    --------
    >>> import fastln
    >>> fastln.add_layer_norm([[1.0, 2.0]], [[0.0, 1.0]], eps=0.0)
    (array([[-1.,  1.]]), array([[1., 3.]]))
    """
    return add_normalize(FASTLN_layer_norm, x, residual, weight, bias, eps, weight_offset, out, sum_out)


def add_rms_norm(x, residual, weight=None, eps=1e-6, *, weight_offset=0.0, out=None, sum_out=None):
    """The sum of two arrays, and its root mean square normalization over the last axis, in one pass over memory::

        s = x + residual
        y = s / sqrt(mean(s ** 2) + eps) * (weight + weight_offset)

    Parameters
    ----------
    x, weight, eps, weight_offset
        As in `rms_norm`.
    residual, out, sum_out
        As in `add_layer_norm`.

    Returns
    -------
    y, s : ndarray
        As of `add_layer_norm`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Examples
    --------
    >>> import fastln
    >>> fastln.add_rms_norm([[1.0, 2.0]], [[2.0, -5.0]], eps=1e-300)
    (array([[ 1., -1.]]), array([[ 3., -3.]]))
    """
    return add_normalize(FASTLN_rms_norm, x, residual, weight, None, eps, weight_offset, out, sum_out)


# --- Prepared parameters ---------------------------------------------------------------------------------------------

cdef object find(object mapping, str prefix, tuple names):
    """The value under the first of the names, after the prefix with or without a dot; None if there is none."""
    for name in names:
        for key in (prefix + name, f"{prefix}.{name}"):
            if key in mapping:
                return mapping[key]
    return None


cdef object find_weight(object mapping, str prefix):
    weight = find(mapping, prefix, WEIGHT_NAMES)
    if weight is None:
        raise KeyError(f"{prefix}: expected a key for the weight after it, one of {', '.join(WEIGHT_NAMES)}")
    return weight


def _another_view(a):
    """Of the bytes of what `_kept` made, since a view of `a` would hand out `a` itself."""
    return None if a is None else np.ndarray(a.shape, a.dtype, a.base)


def _rebuild(cls, keywords):
    return cls(**keywords)


def _kept(a):
    """A copy in memory that nobody can write to or resize."""
    return np.ndarray(a.shape, a.dtype, a.tobytes())


@cython.internal
cdef class _Norm:
    """What LayerNorm and RMSNorm share: parameters in both precisions, each a copy of its own."""
    cdef vectorcall_function vectorcall
    cdef fastln_operation operation
    cdef object weight32, weight64, bias32, bias64, _axis
    cdef double _eps
    cdef npy_intp length  # of rows that `apply_rows` may take: that of weight and bias, ANY or NONE

    cdef int prepare(self, object weight, object bias, object eps, object axis, object weight_offset) except -1:
        if self.vectorcall != NULL:
            raise TypeError(f"a {type(self).__name__} keeps its parameters: make another one")
        cdef double number = as_eps(eps)
        cdef double offset = as_offset(weight_offset, weight is not None)
        axis = LAST_AXIS if type(axis) is int and axis == -1 else tuple(axis) if isinstance(axis, list) else axis
        as_axes(axis, FASTLN_MAX_AXES)  # whether it is an axis, or several, at all
        weight32, weight64 = self.both(weight, "weight", offset)
        bias32, bias64 = self.both(bias, "bias", 0)
        if weight is not None and bias is not None and weight64.shape != bias64.shape:
            raise ValueError(f"bias: expected shape {weight64.shape}, as weight, got {bias64.shape}")
        self.weight32, self.weight64, self.bias32, self.bias64 = weight32, weight64, bias32, bias64
        self._eps, self._axis = number, axis
        own = bias64 if weight is None else weight64
        if axis is not LAST_AXIS or own is not None and own.ndim != 1:
            self.length = NONE
        else:
            self.length = ANY if own is None else len(own)
        self.vectorcall = <vectorcall_function>call_norm  # last: before, there is nothing to call
        return 0

    cdef tuple both(self, object a, str name, double offset):
        if a is None:
            return None, None
        cdef ndarray given = as_array(a, name)
        result_type(given, name)
        if PyArray_NDIM(given) == 0:
            raise ValueError(f"{name}: expected the shape of the normalized axes, got a number")
        wide = np.array(given, np.float64, order="C")
        if offset != 0:  # or -0.0 would lose its sign
            wide += offset
        with np.errstate(all="ignore"):  # it may be for float64 alone
            narrow = wide.astype(np.float32)
        return _kept(narrow), _kept(wide)  # the kernels rely on it

    cdef object apply(self, object x, object out):
        cdef ndarray source = as_array(x, "x")
        cdef int type_num = result_type(source, "x")
        cdef bint wide = type_num == NPY_FLOAT64
        if self.is_usual(source, out, type_num):
            return self.apply_rows(source, out, type_num)
        try:
            return normalize(self.operation, source, self.weight64 if wide else self.weight32,
                             self.bias64 if wide else self.bias32, self._eps, self._axis, out, False, True, NO_OFFSET)
        except ValueError:
            self.check_shape(source)
            raise

    cdef bint is_usual(self, ndarray x, object out, int type_num) except -1:
        """Whether x and out are for `apply_rows`."""
        cdef int last = PyArray_NDIM(x) - 1
        cdef npy_intp size = PyArray_NBYTES(x)
        if last < 0 or size == 0 or self.length != PyArray_DIMS(x)[last] and self.length != ANY:
            return False
        if out is not None and not (PyArray_CheckExact(out) and PyArray_TYPE(<ndarray>out) == type_num
                                    and PyArray_ISWRITEABLE(<ndarray>out) and has_shape_of(<ndarray>out, x, <uint64_t>-1)):
            return False
        return are_plain_rows(x, <ndarray>out, size, type_num)

    cdef ndarray apply_rows(self, ndarray x, object out, int type_num):
        """What `normalize` would do. weight and bias have been checked before; nobody else has their memory."""
        cdef fastln_task task
        cdef int[FASTLN_MAX_AXES] order
        cdef int i, ndim = PyArray_NDIM(x)
        cdef npy_intp rows = 1
        for i in range(ndim):
            order[i] = i
        for i in range(ndim - 1):
            rows *= PyArray_DIMS(x)[i]
        cdef ndarray y = empty(ndim, PyArray_DIMS(x), order, 0, type_num) if out is None else <ndarray>out
        cdef object weight = self.weight64 if type_num == NPY_FLOAT64 else self.weight32
        cdef object bias = self.bias64 if type_num == NPY_FLOAT64 else self.bias32
        task.dtype = kernel_dtype(type_num)
        task.subtract_mean = True
        task.wide = False
        describe_rows(&task, rows, PyArray_DIMS(x)[ndim - 1])
        compute(&task, self.operation, self._eps, x, y, <ndarray>weight, <ndarray>bias, None, None)
        return y

    cdef int check_shape(self, ndarray x) except -1:
        """It is x that does not fit, not the parameters."""
        cdef object own = self.bias64 if self.weight64 is None else self.weight64
        cdef uint64_t axes
        try:
            axes = as_axes(self._axis, PyArray_NDIM(x))
        except ValueError:  # and that is what is wrong
            return 0
        if own is not None and not has_shape_of(own, x, axes):
            raise ValueError(f"x: expected normalized axes of shape {own.shape}, got {shape_of(x, axes)}") from None
        return 0

    def __call__(self, x, out=None):
        return self.apply(x, out)

    @property
    def weight(self):
        return _another_view(self.weight64)

    @property
    def eps(self):
        return self._eps

    @property
    def axis(self):
        return self._axis

    def __repr__(self):
        shape = "" if self.weight64 is None else f"weight of shape {self.weight64.shape}, "
        bias = "" if self.bias64 is None else f"bias of shape {self.bias64.shape}, "
        return f"<{type(self).__name__}: {shape}{bias}eps={self._eps}, axis={self._axis}>"


cdef object call_norm(_Norm self, PyObject **args, size_t count, PyObject *names):
    """The vectorcall of a norm: no tuple and no dict for what a call usually is."""
    cdef Py_ssize_t n = PyVectorcall_NARGS(count)
    if names == NULL and n == 1:
        return self.apply(<object>args[0], None)
    if names == NULL and n == 2 or n == 1 and len(<tuple>names) == 1 and (<tuple>names)[0] is OUT:
        return self.apply(<object>args[0], <object>args[1])
    keywords = {} if names == NULL else {name: <object>args[n + i] for i, name in enumerate(<tuple>names)}
    return _Norm.__call__(self, *[<object>args[i] for i in range(n)], **keywords)


@cython.final
cdef class LayerNorm(_Norm):
    """Layer normalization with parameters of its own: the cheapest call there is.

    ``LayerNorm(weight, bias, eps)(x)`` is ``layer_norm(x, weight, bias, eps)``, to the bit. The parameters are copied, and
    converted once.

    Parameters
    ----------
    weight, bias, eps, axis
        As in `layer_norm`.

    Raises
    ------
    TypeError, ValueError
        As in `layer_norm`.

    Examples
    --------
    >>> import fastln
    >>> norm = fastln.LayerNorm([1.0, 2.0], [0.0, 10.0], eps=0.0)
    >>> norm([[1.0, 3.0]])
    array([[-1., 12.]])
    """

    def __init__(self, weight=None, bias=None, eps=1e-5, *, axis=-1):
        self.operation = FASTLN_layer_norm
        self.prepare(weight, bias, eps, axis, NO_OFFSET)

    @property
    def bias(self):
        return _another_view(self.bias64)

    @staticmethod
    def from_mapping(mapping, prefix="", eps=1e-5, *, axis=-1):
        """With the parameters that a mapping, such as a state dict, has under ``prefix``: ``weight`` or ``gamma``, and
        ``bias`` or ``beta`` if there is one. A dot after the prefix may be left out.

        Raises
        ------
        KeyError
            If there is no weight.
        """
        return LayerNorm(find_weight(mapping, prefix), find(mapping, prefix, BIAS_NAMES), eps, axis=axis)

    def __reduce__(self):
        return _rebuild, (LayerNorm, {"weight": self.weight, "bias": self.bias, "eps": self._eps, "axis": self._axis})


@cython.final
cdef class RMSNorm(_Norm):
    """Root mean square layer normalization with a weight of its own: the cheapest call there is.

    ``RMSNorm(weight, eps)(x)`` is ``rms_norm(x, weight, eps)``, to the bit. The weight is copied, and converted once.

    Parameters
    ----------
    weight, eps, axis, weight_offset
        As in `rms_norm`. The attribute ``weight`` includes the offset.

    Raises
    ------
    TypeError, ValueError
        As in `rms_norm`.

    Examples
    --------
    >>> import fastln
    >>> norm = fastln.RMSNorm([1.0, 2.0], eps=1e-300)
    >>> norm([[3.0, -3.0]])
    array([[ 1., -2.]])
    """

    def __init__(self, weight=None, eps=1e-6, *, axis=-1, weight_offset=0.0):
        self.operation = FASTLN_rms_norm
        self.prepare(weight, None, eps, axis, weight_offset)

    @staticmethod
    def from_mapping(mapping, prefix="", eps=1e-6, *, axis=-1, weight_offset=0.0):
        """With the weight that a mapping, such as a state dict, has under ``prefix``: ``weight`` or ``gamma``. A dot after
        the prefix may be left out.

        Raises
        ------
        KeyError
            If there is none.
        """
        return RMSNorm(find_weight(mapping, prefix), eps, axis=axis, weight_offset=weight_offset)

    def __reduce__(self):
        return _rebuild, (RMSNorm, {"weight": self.weight, "eps": self._eps, "axis": self._axis})


# --- Threads ---------------------------------------------------------------------------------------------------------

cdef int as_num_threads(object n) except -1:
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n: expected an int, got {type(n).__name__}") from None
    if n < 1:
        raise ValueError(f"n: expected at least 1 thread, got {n}")
    return min(n, 1 << 30)


def get_num_threads():
    """How many threads a call may use, the calling one included.

    The default is ``FASTLN_NUM_THREADS``, else ``OMP_NUM_THREADS``, else as many as this process has processors, by
    affinity and by the CPU quota of its control groups.
    """
    return fastln_get_num_threads()


def set_num_threads(n):
    """Lets each call from now on use up to `n` threads, the calling one included, in the whole process; more than 1024
    count as 1024.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an int, or below 1.
    """
    fastln_set_num_threads(as_num_threads(n))


class num_threads:
    """Context manager: up to `n` threads inside, in the whole process, and the number from before afterwards.

    Not for several Python threads at once: the number is the process's, and who leaves last decides.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an int, or below 1.

    Examples
    --------
    >>> import fastln
    >>> with fastln.num_threads(1):
    ...     fastln.get_num_threads()
    1
    """

    def __init__(self, n):
        self._n = as_num_threads(n)
        self._before = []  # a stack: one object can be entered again while inside

    def __enter__(self):
        self._before.append(fastln_set_num_threads(self._n))
        return self

    def __exit__(self, *exc_info):
        fastln_set_num_threads(self._before.pop())


def _careless_threads(bint on):
    """For tests: threads whenever they may be used, whether or not they gain anything."""
    fastln_parallel_careless(on)


# --- Instruction sets, and what show_config tells ---------------------------------------------------------------------

def _isas():
    """(name, compiled, supported) of every instruction set, the best one last."""
    return [(fastln_isa_name(i).decode(), fastln_isa_compiled(i) != 0, fastln_isa_supported(i) != 0)
            for i in range(fastln_isa_count())]


def _active_isa():
    return fastln_isa_active().decode()


def _select_isa(name):
    """Switches to an instruction set, for tests; the whole process. ValueError if it can't be had."""
    if fastln_isa_select(os.fsencode(name)) != 0:
        why = {isa: "not compiled in" if not compiled else "not supported by this processor"
               for isa, compiled, supported in _isas() if not (compiled and supported)}.get(name, "unknown")
        possible = ", ".join([isa for isa, compiled, supported in _isas() if compiled and supported])
        raise ValueError(f"expected one of {possible}, got {name!r} ({why})")


def _build():
    return {"openmp": fastln_parallel_runtime().decode(), "compiler": FASTLN_COMPILER.decode()}


cdef int start() except -1:
    cdef const char *error = fastln_parallel_init()
    if error != NULL:
        raise ImportError(error.decode(errors="replace"))
    for cls in (_Norm, LayerNorm, RMSNorm):
        set_vectorcall(<PyTypeObject *>cls, vectorcall_offset())
    fastln_isa_select_best()
    name = os.environ.get("FASTLN_ISA")
    if name:
        try:
            _select_isa(name)
        except ValueError as why:
            raise ImportError(f"FASTLN_ISA: {why}") from None
    return 0


start()
