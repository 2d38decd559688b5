#include "fastln.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#include "vec_neon.h"

#define ISA neon
#include "isa.inc.h"
#else
const fastln_isa *const fastln_isa_neon = NULL;
#endif
