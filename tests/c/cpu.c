/* Prints the names of the instruction sets that this processor and its operating system support. */
#include <stdio.h>

#include "cpu.h"

#define PRINT_ISA(name) \
    if (fastln_cpu_has_##name()) puts(#name);

int main(void) {
    FASTLN_FOR_EACH_ISA(PRINT_ISA)
    return 0;
}
