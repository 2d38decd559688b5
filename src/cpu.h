/* cpu.h: what this processor and its operating system can run, one question per instruction set; and whose it is. */
#ifndef FASTLN_CPU_H
#define FASTLN_CPU_H

#include "fastln.h"

#define FASTLN_DECLARE_CPU(name) int fastln_cpu_has_##name(void);
FASTLN_FOR_EACH_ISA(FASTLN_DECLARE_CPU)
int fastln_cpu_is_amd(void);

#endif
