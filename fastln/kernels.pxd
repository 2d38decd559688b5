# The kernels for other Cython code: `from fastln.kernels cimport layer_norm_f32`. Only Cython is needed, no header.
# See kernels.pyx.

cpdef int layer_norm_f32(const float[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                         float[:, ::1] out) except -1 nogil
cpdef int layer_norm_f64(const double[:, ::1] x, const double[::1] weight, const double[::1] bias, double eps,
                         double[:, ::1] out) except -1 nogil
cpdef int layer_norm_f16(const unsigned short[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                         unsigned short[:, ::1] out) except -1 nogil
cpdef int layer_norm_bf16(const unsigned short[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps,
                          unsigned short[:, ::1] out) except -1 nogil

cpdef int rms_norm_f32(const float[:, ::1] x, const float[::1] weight, double eps, float[:, ::1] out) except -1 nogil
cpdef int rms_norm_f64(const double[:, ::1] x, const double[::1] weight, double eps, double[:, ::1] out) except -1 nogil
cpdef int rms_norm_f16(const unsigned short[:, ::1] x, const float[::1] weight, double eps,
                       unsigned short[:, ::1] out) except -1 nogil
cpdef int rms_norm_bf16(const unsigned short[:, ::1] x, const float[::1] weight, double eps,
                        unsigned short[:, ::1] out) except -1 nogil

cpdef int normalize_f32(const float[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const float[::1] weight, const float[::1] bias, float[:, ::1] out) except -1 nogil
cpdef int normalize_f64(const double[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const double[::1] weight, const double[::1] bias, double[:, ::1] out) except -1 nogil
cpdef int normalize_f16(const unsigned short[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                        const float[::1] weight, const float[::1] bias, unsigned short[:, ::1] out) except -1 nogil
cpdef int normalize_bf16(const unsigned short[:, ::1] x, const double[::1] mean, const double[::1] rstd,
                         const float[::1] weight, const float[::1] bias, unsigned short[:, ::1] out) except -1 nogil
