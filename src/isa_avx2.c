#include "fastln.h"

#if defined(__AVX2__) && (defined(__FMA__) && defined(__F16C__) || defined(_MSC_VER))
#include "vec_avx2.h"

#define ISA avx2
/* Measured on Zen 3, between calls that use the caches otherwise: to fetch what comes next saves a third then. Where x
 * and y are in L3 from the call before it costs up to a tenth. Of rows that are a multiple of 4 KiB apart, four
 * streamed side by side took four times as long as one after the other. It adds and multiplies on ports of their own. */
#define Y_AHEAD 0
#define Y_FIRST 4096
#define SHORT_FETCHED (1 << 18)
#define X_AHEAD 1
#define STRANDS 1
#define GROUPED_FETCHED_ROW 4096
#define CACHED (1 << 18)
#define ADDS_BY_FMA 1
#define FETCHED (1 << 18)
#include "isa.inc.h"
#else
const fastln_isa *const fastln_isa_avx2 = NULL;
#endif
