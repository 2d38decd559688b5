/* activations.c: the functions of activations.inc.h by themselves, on one vec header.
 *
 *   cc <flags of the instruction set> -Isrc -DVEC_HEADER='"vec_avx2.h"' tests/c/activations.c -lm
 *   activations f32 tanh < values > results */
#include VEC_HEADER

#include <stdio.h>
#include <string.h>

#include "compiler.h"

#ifndef INLINE
#define INLINE FORCED_INLINE
#endif
#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define N(name) PASTE(name, REAL_DTYPE)
#define V(name) PASTE(REAL_DTYPE, name)
#define VEC V(vec)

/* Reads vectors to the end of the input; the last may be a part of one. */
#define DEFINE_MAP                                                                                                  \
    static void N(map)(const char *function) {                                                                      \
        REAL x[LANES] = {0};                                                                                        \
        size_t n;                                                                                                   \
        while ((n = fread(x, sizeof *x, LANES, stdin)) > 0) {                                                       \
            VEC v = V(load)(x);                                                                                     \
            v = !strcmp(function, "tanh") ? N(tanh)(v) : !strcmp(function, "sigmoid") ? N(sigmoid)(v) : N(relu)(v); \
            V(store)(x, v);                                                                                         \
            fwrite(x, sizeof *x, n, stdout);                                                                        \
        }                                                                                                           \
    }

#define REAL float
#define REAL_DTYPE f32
#define LANES 16
#include "activations.inc.h"
DEFINE_MAP
#undef REAL
#undef REAL_DTYPE
#undef LANES

#define REAL double
#define REAL_DTYPE f64
#define LANES 8
#include "activations.inc.h"
DEFINE_MAP

int main(int argc, char **argv) {
    if (argc != 3) return 1;
    if (strcmp(argv[1], "f32") == 0)
        map_f32(argv[2]);
    else
        map_f64(argv[2]);
    return 0;
}
