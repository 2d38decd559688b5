/* dispatch.c: which table of kernels is active. An instruction set is its name; its place in FASTLN_FOR_EACH_ISA says
 * how good it is. Switching is atomic: a call under way keeps the kernel that it has, and all give the same bits. */
#include "fastln.h"

#include <string.h>

#include "atomic.h"
#include "cpu.h"

#define LIST_ISA(name) {#name, &fastln_isa_##name, fastln_cpu_has_##name},
static const struct {
    const char *name;
    const fastln_isa *const *table; /* by address: the value of another file's variable is no constant expression */
    int (*supported)(void);
} isas[] = {FASTLN_FOR_EACH_ISA(LIST_ISA)};

enum { ISAS = sizeof isas / sizeof isas[0] };

static fastln_atomic active; /* const fastln_isa *; NULL until the first choice */

int fastln_isa_count(void) { return ISAS; }
const char *fastln_isa_name(int i) { return isas[i].name; }
int fastln_isa_compiled(int i) { return *isas[i].table != NULL; }
int fastln_isa_supported(int i) { return isas[i].supported(); }

static int select_isa(int i) {
    if (!fastln_isa_compiled(i) || !fastln_isa_supported(i)) return -1;
    fastln_store(&active, (intptr_t)*isas[i].table);
    return 0;
}

int fastln_isa_select(const char *name) {
    for (int i = 0; i < ISAS; i++)
        if (strcmp(name, isas[i].name) == 0) return select_isa(i);
    return -1;
}

void fastln_isa_select_best(void) {
    int i = ISAS;
    while (select_isa(--i) != 0) /* ends at scalar, which is always there */
        ;
}

static const fastln_isa *active_isa(void) {
    if (!fastln_load(&active)) fastln_isa_select_best();
    return (const fastln_isa *)fastln_load(&active);
}

const char *fastln_isa_active(void) { return active_isa()->name; }

const fastln_kernel *fastln_active_kernel(fastln_operation operation, fastln_dtype dtype) {
    return &active_isa()->kernels[dtype][operation];
}

const fastln_run_cell *fastln_active_cells(fastln_dtype dtype) { return active_isa()->cells[dtype]; }
