#include "vec_scalar.h"

#define ISA scalar
#include "isa.inc.h"
