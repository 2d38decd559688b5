#include "fastln.h"

#if defined(__AVX2__) && (defined(__FMA__) && defined(__F16C__) || defined(_MSC_VER))
#include "vec_avx2.h"

#define ISA avx2
/* Measured on Zen 3. To fetch what comes next saves a third where x and y come from memory. It costs up to a fifth
 * where they are in L3, as arrays of up to 1 MiB mostly are when what made them has just ended. It adds and multiplies
 * on ports of their own. */
#define Y_AHEAD 0
#define Y_FIRST 4096
#define SHORT_FETCHED (1 << 18)
#define X_AHEAD 1
#define GROUPED_ROW 8192
#define GROUPED_FETCHED_ROW 4096
#define CACHED (1 << 20)
#define ADDS_BY_FMA 1
#define FETCHED (1 << 20)
#include "isa.inc.h"
#else
const fastln_isa *const fastln_isa_avx2 = NULL;
#endif
