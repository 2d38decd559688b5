/* strided.h: copies values from one layout to another. */
#ifndef FASTLN_STRIDED_H
#define FASTLN_STRIDED_H

#include <stddef.h>

typedef struct fastln_axis { /* `n` values, and the bytes from one to the next on either side */
    ptrdiff_t n, to, from;
} fastln_axis;

#define FASTLN_MAX_COPY_AXES 72

/* Puts axes in the order in which they are written, outermost first, without any of size 1. Returns how many are left.
 */
int fastln_sort_axes(fastln_axis *axes, int ndim);
/* Makes one of neighbours that nest on both sides. Returns how many are left. */
int fastln_merge_axes(fastln_axis *axes, int ndim);

/* All values of at most FASTLN_MAX_COPY_AXES axes, `size` bytes each, 2, 4 or 8; any alignment. The axes may be in any
 * order. */
void fastln_copy(char *to, const char *from, const fastln_axis *axes, int ndim, ptrdiff_t size);

#endif
