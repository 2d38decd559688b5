#include "fastln.h"

#if defined(__AVX2__) && (defined(__FMA__) && defined(__F16C__) || defined(_MSC_VER))
#include "vec_avx2.h"

#define ISA avx2
#include "isa.inc.h"
#else
const fastln_isa *const fastln_isa_avx2 = NULL;
#endif
