/* isa.inc.h: all operations for all dtypes, over the vec header that was included before; ISA names the table. */
#include "fastln.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cells.h"
#include "compiler.h"
#include "cpu.h"
#include "sizes.h"

#ifndef INLINE
#define INLINE FORCED_INLINE
#endif

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define N(name) PASTE(name, DTYPE)      /* a function or type of ours for this dtype */
#define E(name) PASTE(DTYPE, name)      /* a vec operation on elements: load, store */
#define V(name) PASTE(REAL_DTYPE, name) /* a vec operation on the compute type */
#define VEC V(vec)
#define SIZE ((ptrdiff_t)sizeof(ELEMENT))

/* How y is written: as it is, with what comes next fetched, past the caches, or as weight and bias repeat
 * themselves. */
enum { IN_CACHE, FROM_MEMORY, PAST_CACHES, IN_PARTS };

/* What suits processors with one instruction set and not those with another; here, measured with AVX-512. */
#ifndef Y_AHEAD
#define Y_AHEAD 2048             /* bytes of y to fetch before they are written: 1 to 4 KiB are alike */
#define Y_FIRST 0                /* bytes of y to fetch before a row by itself is measured */
#define SHORT_FETCHED 0          /* bytes; of larger arrays rows of 5 to 8 vectors fetch what comes next */
#define X_AHEAD 2                /* groups of short rows to fetch before they are measured */
#define GROUPED_ROW 12288        /* bytes; up to here four rows, which share their folds, are measured together, */
#define GROUPED_FETCHED_ROW 8192 /* or here, where the next rows are fetched */
#define ADDS_BY_FMA 0            /* whether some additions are written as multiplications by 1 */
#define CACHED (1 << 19)         /* bytes; of smaller arrays nothing is fetched: they stay in L2 */
#define FETCHED (1 << 23)        /* bytes; of larger arrays the next rows are fetched while a row is written */
#endif

/* The part of q that must be spread, or else a row is measured once more. With more, columns in which a sample is off by
 * chance would be measured again too often. */
#define NEAR_PART 0.85

enum {
    WEIGHT = 1,
    BIAS = 2,
    SPREAD = 4,
    ADA = 8,
    SHORT_ROW = 8,       /* vectors; up to here rows go LANES at a time */
    TILE = 64,           /* vectors side by side in columns at most: row by row, their lines are fetched together */
    TREES = 6 * TILE,    /* vectors of sums, of columns that are measured together: those of TILE short ones */
    TILE_AHEAD = 4,      /* values of y to fetch before they are written there */
    FETCHED_ROW = 65536, /* bytes; longer ones are not fetched, or, if they are streamed and only x takes room, */
    FETCHED_STREAMED_ROW = 1 << 18, /* bytes */
    STREAMED = 1 << 27,  /* bytes; larger arrays are written past the caches, if their rows are no shorter than */
    STREAMED_ROW = 2048, /* bytes */
    STRANDS = 4,         /* rows, or parts of one, that are streamed side by side where that is faster */
    STREAMED_PART = 16,  /* lines; the least of four parts in which a row by itself is streamed */
    FETCHED_BLOCKS = 16, /* blocks of a row; in longer ones the next block is fetched while one is measured */
    GROUPED_STREAMED_ROW = 8192, /* bytes; up to here LANES rows */
};

/* Below SMALL_VARIANCE squares may have lost bits to underflow; MAX_POWER keeps a scaled row from overflowing. */
#define REAL float
#define REAL_DTYPE f32
#define REAL_MAX FLT_MAX
#define LANES 16
#define SMALL_VARIANCE 0x1p-90
#define MAX_POWER 126

#define DTYPE f32
#define ELEMENT float
#include "moments.inc.h"
#include "norm.inc.h"
#include "activations.inc.h"
#include "cells.inc.h"
#undef DTYPE
#undef ELEMENT

#define DTYPE f16
#define ELEMENT uint16_t
#include "moments.inc.h"
#include "norm.inc.h"
#undef DTYPE
#undef ELEMENT

#define DTYPE bf16
#define ELEMENT uint16_t
#include "moments.inc.h"
#include "norm.inc.h"
#undef DTYPE
#undef ELEMENT

#undef REAL
#undef REAL_DTYPE
#undef REAL_MAX
#undef LANES
#undef SMALL_VARIANCE
#undef MAX_POWER

#define REAL double
#define REAL_DTYPE f64
#define REAL_MAX DBL_MAX
#define LANES 8
#define SMALL_VARIANCE 0x1p-900
#define MAX_POWER 1000

#define DTYPE f64
#define ELEMENT double
#include "moments.inc.h"
#include "norm.inc.h"
#include "activations.inc.h"
#include "cells.inc.h"
#undef DTYPE

#define KERNELS_OF(dtype) [FASTLN_##dtype] = kernels_##dtype,
#define STRING_(name) #name
#define STRING(name) STRING_(name)

static const fastln_isa table = {
    STRING(ISA), {FASTLN_FOR_EACH_DTYPE(KERNELS_OF)}, {[FASTLN_f32] = cells_f32, [FASTLN_f64] = cells_f64}};
const fastln_isa *const PASTE(fastln_isa, ISA) = &table;
