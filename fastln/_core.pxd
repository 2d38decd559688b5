# What the package's other modules share: the C contract, and the one way into the kernels. The state behind it, that
# is the active instruction set and the number of threads, exists once, in _core.

from numpy cimport ndarray

cdef extern from "fastln.h" nogil:
    enum:
        FASTLN_MAX_AXES

    ctypedef enum fastln_dtype:
        FASTLN_f32
        FASTLN_f64
        FASTLN_f16
        FASTLN_bf16

    ctypedef enum fastln_operation:
        FASTLN_layer_norm
        FASTLN_rms_norm
        FASTLN_normalize

    ctypedef enum fastln_form:
        FASTLN_EACH
        FASTLN_SPREAD
        FASTLN_ADA

    ctypedef enum fastln_layout:
        FASTLN_ROWS
        FASTLN_COLUMNS
        FASTLN_SCATTERED

    ctypedef struct fastln_steps:
        Py_ssize_t x
        Py_ssize_t y
        Py_ssize_t weight
        Py_ssize_t bias
        Py_ssize_t stat

    ctypedef struct fastln_task:
        fastln_operation operation
        fastln_dtype dtype
        fastln_layout layout
        int subtract_mean
        const void *x
        void *y
        const void *weight
        const void *bias
        fastln_form form
        Py_ssize_t part
        Py_ssize_t part_step
        void *mean
        void *rstd
        int wide
        double eps
        Py_ssize_t length
        Py_ssize_t x_step
        Py_ssize_t y_step
        int ndim
        Py_ssize_t shape[FASTLN_MAX_AXES]
        fastln_steps strides[FASTLN_MAX_AXES]
        int row_ndim
        Py_ssize_t row_shape[FASTLN_MAX_AXES]
        Py_ssize_t row_x_strides[FASTLN_MAX_AXES]
        Py_ssize_t row_y_strides[FASTLN_MAX_AXES]

cdef extern from "cells.h" nogil:
    ctypedef enum fastln_cell:
        FASTLN_rnn_tanh
        FASTLN_rnn_relu
        FASTLN_lstm
        FASTLN_gru

    ctypedef struct fastln_step:
        fastln_cell cell
        fastln_dtype dtype
        Py_ssize_t batch
        Py_ssize_t hidden
        Py_ssize_t width
        double eps
        const void *weight
        const void *bias
        const void *inner_weight
        const void *inner_bias
        void *sums
        const void *columns
        const void *input
        void *h
        void *c
        void *y
        Py_ssize_t y_stride
        const Py_ssize_t *lengths
        Py_ssize_t time

cdef void describe_rows(fastln_task *task, Py_ssize_t rows, Py_ssize_t length) noexcept nogil
cdef int run(const fastln_task *task) noexcept nogil
cdef void run_step(const fastln_step *step) noexcept nogil
cdef bint step_is_long(const fastln_step *step) noexcept nogil

# The checks of arguments.
cdef ndarray as_array(object a, str name)
cdef int result_type(ndarray a, str name) except -1
cdef double as_eps(object value) except -1
