# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic, freethreading_compatible=True, autotestdict=False
"""The loop over the steps of a recurrent network: for each, a product by NumPy's BLAS and one call of the kernels.

The input's term, W_ih x and its norm, needs no state: it is computed for many steps at once, in parts that stay in
cache. BLAS takes each product in the form that is fastest for it: h W^T for one row, with the transposed weight laid out
anew, and W h^T for several, whose result is transposed on the way into the kernels."""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
cimport numpy as cnp
from numpy cimport (
    NPY_ARRAY_CARRAY, NPY_ARRAY_CARRAY_RO, NPY_ARRAY_ENSURECOPY, NPY_ARRAY_FORCECAST, NPY_FLOAT32, NPY_FLOAT64,
    PyArray_DATA, PyArray_FROM_OTF, PyArray_STRIDES, ndarray,
)

from fastln._core cimport (
    FASTLN_f32, FASTLN_f64, FASTLN_gru, FASTLN_lstm, FASTLN_rnn_relu, FASTLN_rnn_tanh, as_array, as_eps, fastln_cell,
    fastln_step, result_type, run_step, step_is_long,
)

import numpy as np

from fastln._core import layer_norm

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_MatrixProduct2(object a, object b, ndarray out)

cdef enum:
    PART = 1 << 22  # bytes of the input's term that are computed at once

cdef dict KINDS = {"rnn_tanh": FASTLN_rnn_tanh, "rnn_relu": FASTLN_rnn_relu, "lstm": FASTLN_lstm, "gru": FASTLN_gru}
cdef object F32 = np.dtype(np.float32)
cdef object F64 = np.dtype(np.float64)


def real(a, str name):
    """`a` as an array, and the dtype that is computed in: float32 for it and the half types, else float64."""
    cdef ndarray v = as_array(a, name)
    return v, F64 if result_type(v, name) == NPY_FLOAT64 else F32


def copy_state(state, str name, Py_ssize_t batch, Py_ssize_t hidden, dtype):
    """A part of a state as the loop takes it, and may write to it."""
    cdef ndarray v = as_array(state, name)
    result_type(v, name)
    if v.ndim != 2 or v.shape[0] != batch or v.shape[1] != hidden:
        raise ValueError(f"{name}: expected shape {(batch, hidden)}, got {(<object>v).shape}")
    return PyArray_FROM_OTF(v, NPY_FLOAT64 if dtype == F64 else NPY_FLOAT32,
                            NPY_ARRAY_CARRAY | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSURECOPY)


def check_eps(eps):
    return as_eps(eps)


cdef void *data_of(object a) noexcept:
    return NULL if a is None else PyArray_DATA(<ndarray>a)


@cython.final
cdef class Cell:
    """A cell with its parameters in one dtype. The weights are (width, inputs) and (width, hidden); `norms` has those of
    the input's term: (begin, end, weight, bias) for a part of it. What else there is stands in src/cells.h."""
    cdef fastln_step step
    cdef object dtype, weight_ih, weight_hh, transposed_hh
    cdef tuple owners, norms

    def __init__(self, kind, dtype, weight_ih, weight_hh, norms, double eps, weight=None, bias=None,
                 inner_weight=None, inner_bias=None):
        self.dtype = np.dtype(dtype)
        self.weight_ih, self.transposed_hh = self.convert(weight_ih.T), self.convert(weight_hh.T)
        self.weight_hh = self.convert(weight_hh)
        self.norms = tuple([(begin, end, self.convert(w), self.convert(b)) for begin, end, w, b in norms])
        self.owners = tuple([self.convert(a) for a in (weight, bias, inner_weight, inner_bias)])
        self.step.cell = <fastln_cell><int>KINDS[kind]
        self.step.dtype = FASTLN_f64 if self.dtype == F64 else FASTLN_f32
        self.step.width, self.step.hidden = weight_hh.shape
        self.step.eps = eps
        self.step.weight = data_of(self.owners[0])
        self.step.bias = data_of(self.owners[1])
        self.step.inner_weight = data_of(self.owners[2])
        self.step.inner_bias = data_of(self.owners[3])

    cdef object convert(self, object a):
        with np.errstate(all="ignore"):  # it may be for float64 alone
            return None if a is None else np.ascontiguousarray(a, self.dtype)

    def run(self, ndarray x, ndarray h, ndarray c, ndarray y, ndarray lengths):
        """Goes through x (T, B, I), of any dtype and strides. h and c (B, H), contiguous, become the final state; y
        (T, B, H), of which the last axis is contiguous, the states on the way. lengths: intp, or None."""
        cdef Py_ssize_t steps = x.shape[0], batch = x.shape[1], width = self.step.width
        cdef Py_ssize_t row = width * self.dtype.itemsize, first, n
        cdef Py_ssize_t most = max(1, min(steps, PART // max(1, batch * row)))
        cdef fastln_step step = self.step
        cdef int type_num = NPY_FLOAT64 if step.dtype == FASTLN_f64 else NPY_FLOAT32
        cdef ndarray terms, sums, columns
        if steps == 0 or batch == 0:
            return
        terms = np.empty((most * batch, width), self.dtype)
        sums = np.empty((batch, width), self.dtype)
        columns = np.empty((width, batch), self.dtype) if batch > 1 else None
        step.batch = batch
        step.h = PyArray_DATA(h)
        step.c = data_of(c)
        step.lengths = <const Py_ssize_t *>data_of(lengths)
        step.sums = PyArray_DATA(sums)
        step.columns = data_of(columns)
        step.y = PyArray_DATA(y)
        step.y_stride = PyArray_STRIDES(y)[1]
        step.time = 0
        for first in range(0, steps, most):
            PyErr_CheckSignals()
            n = min(most, steps - first)
            inputs = PyArray_FROM_OTF(x if n == steps else x[first:first + n], type_num,
                                      NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST)
            self.find_terms(inputs.reshape(n * batch, x.shape[2]), terms if n == most else terms[:n * batch])
            step.input = PyArray_DATA(terms)
            if batch == 1:
                self.walk(&step, n, h, self.transposed_hh, sums, row, PyArray_STRIDES(y)[0])
            else:
                self.walk(&step, n, self.weight_hh, h.T, columns, batch * row, PyArray_STRIDES(y)[0])

    cdef int find_terms(self, object inputs, ndarray terms) except -1:
        PyArray_MatrixProduct2(inputs, self.weight_ih, terms)
        for begin, end, weight, bias in self.norms:
            part = terms if end - begin == self.step.width else terms[:, begin:end]
            layer_norm(part, weight, bias, self.step.eps, out=part)
        return 0

    cdef int walk(self, fastln_step *step, Py_ssize_t steps, object a, object b, ndarray product,
                  Py_ssize_t input_step, Py_ssize_t y_step) except -1:
        cdef bint is_long = step_is_long(step)
        for _ in range(steps):
            PyArray_MatrixProduct2(a, b, product)
            if is_long:
                with nogil:
                    run_step(step)
            else:
                run_step(step)
            step.input = <const char *>step.input + input_step
            step.y = <char *>step.y + y_step
            step.time += 1
        return 0
