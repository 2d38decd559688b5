#include "fastln.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "vec_avx512.h"

#define ISA avx512
#include "isa.inc.h"
#else
const fastln_isa *const fastln_isa_avx512 = NULL;
#endif
