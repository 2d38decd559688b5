/* strided.c: copies values from one layout to another. The axes are put in order, and four shapes of loop do the rest:
 *
 *   dense   values that lie side by side on both sides;
 *   line    values along the axis that is innermost on both sides;
 *   tile    one axis is innermost here and another there: a transposition, in tiles whose cache lines stay in L1;
 *   list    less than a few cache lines: their distances are worked out once, for all places where the same comes
 * again. */
#include "strided.h"

#include <string.h>

#include "compiler.h"
#include "sizes.h"

enum {
    TURN = 32,           /* values of a cell in the direction of reading */
    SHORT = 64,          /* values; fewer are not worth a loop of their own, */
    SHORT_REVERSED = 16, /* but for reversed ones, of which compilers make vectors */
    AHEAD = 4,           /* lines */
    LIST = 256,
};

typedef struct place { ptrdiff_t to, from; } place; /* in bytes from the first value */

typedef struct copy {
    fastln_axis axes[FASTLN_MAX_COPY_AXES]; /* outermost first */
    int ndim;
    ptrdiff_t size;
} copy;

/* With a constant size memcpy becomes a load and a store, at any alignment. */
FORCED_INLINE void copy_line(char *to, const char *from, ptrdiff_t n, ptrdiff_t to_step, ptrdiff_t from_step,
                             size_t size) {
    UNROLL4 for (ptrdiff_t i = 0; i < n; i++) memcpy(to + i * to_step, from + i * from_step, size);
}

/* The usual ones with constants, of which compilers make vectors. */
FORCED_INLINE void copy_long_line(char *restrict to, const char *restrict from, fastln_axis line, ptrdiff_t size) {
    if (line.to == size && line.from == -size)
        for (ptrdiff_t i = 0; i < line.n; i++) memcpy(to + i * size, from - i * size, (size_t)size);
    else if (line.to == size && line.from == 2 * size)
        for (ptrdiff_t i = 0; i < line.n; i++) memcpy(to + i * size, from + i * 2 * size, (size_t)size);
    else if (line.to == size && line.from == 0)
        for (ptrdiff_t i = 0; i < line.n; i++) memcpy(to + i * size, from, (size_t)size);
    else
        copy_line(to, from, line.n, line.to, line.from, (size_t)size);
}

/* A cell of a tile: `width` values along a, in which it is written, by `n` along b, in which it is read. The lines that
 * the next cell will write are fetched meanwhile, as a processor waits for few of those, and those that it will read.
 */
FORCED_INLINE void copy_cell(char *to, const char *from, fastln_axis a, fastln_axis b, ptrdiff_t width, ptrdiff_t n,
                             char *next_to, const char *next_from, size_t size) {
    ptrdiff_t lines = TURN * (ptrdiff_t)size / FASTLN_LINE; /* that are read of each place along a */
    for (ptrdiff_t j = 0; j < n; j++) {
        PREFETCH(next_to, j * b.to + FASTLN_LINE - 1); /* what lies before came with the last cell */
        PREFETCH(next_from, j / lines * a.from + j % lines * (TURN / lines) * b.from);
        copy_line(to + j * b.to, from + j * b.from, width, a.to, a.from, size);
    }
}

FORCED_INLINE void copy_cells(char *to, const char *from, fastln_axis a, fastln_axis b, size_t size) {
    ptrdiff_t width = FASTLN_LINE / (ptrdiff_t)size;
    for (ptrdiff_t j = 0; j < b.n; j += TURN) {
        ptrdiff_t n = fastln_least(TURN, b.n - j);
        for (ptrdiff_t i = 0; i < a.n; i += width) {
            char *here = to + i * a.to + j * b.to;
            const char *there = from + i * a.from + j * b.from;
            char *next_to = here; /* of the last cell itself, which costs little */
            const char *next_from = there;
            if (i + width < a.n)
                next_to = here + width * a.to, next_from = there + width * a.from;
            else if (j + TURN < b.n)
                next_to = to + (j + TURN) * b.to, next_from = from + (j + TURN) * b.from;
            if (i + width <= a.n)
                copy_cell(here, there, a, b, width, n, next_to, next_from, size);
            else
                copy_cell(here, there, a, b, a.n - i, n, next_to, next_from, size);
        }
    }
}

FORCED_INLINE void copy_tile(char *to, const char *from, fastln_axis a, fastln_axis b, size_t size) {
    if (a.n < FASTLN_LINE / (ptrdiff_t)size)
        for (ptrdiff_t j = 0; j < b.n; j++) copy_line(to + j * b.to, from + j * b.from, a.n, a.to, a.from, size);
    else
        copy_cells(to, from, a, b, size);
}

/* A tile of which one side alternates, as in pairs or pixels, and the other does not. With constants compilers make
 * vectors of it. */
FORCED_INLINE void deal(char *restrict to, const char *restrict from, ptrdiff_t count, ptrdiff_t step, ptrdiff_t to_row,
                        ptrdiff_t from_row, ptrdiff_t to_step, ptrdiff_t rows, size_t size) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(to + r * to_row + i * to_step, from + r * from_row + i * step, size);
}

FORCED_INLINE int deal_tile(char *to, const char *from, fastln_axis a, fastln_axis b, ptrdiff_t size) {
#define DEAL(rows)                                                                \
    if (b.n == rows && a.to == size && a.from == rows * size && b.from == size) { \
        deal(to, from, a.n, rows * size, b.to, size, size, rows, (size_t)size);   \
        return 1;                                                                 \
    }                                                                             \
    if (a.n == rows && a.to == size && b.to == rows * size && b.from == size) {   \
        deal(to, from, b.n, size, size, a.from, rows * size, rows, (size_t)size); \
        return 1;                                                                 \
    }
    DEAL(2) DEAL(3) DEAL(4) return 0;
#undef DEAL
}

FORCED_INLINE void copy_list(char *to, const char *from, const place *places, int count, fastln_axis again,
                             size_t size) {
    for (ptrdiff_t i = 0; i < again.n; i++, to += again.to, from += again.from)
        UNROLL4 for (int j = 0; j < count; j++) memcpy(to + places[j].to, from + places[j].from, size);
}

#define FOR_EACH_SIZE(what) \
    switch (size) {         \
    case 2: what(2); break; \
    case 4: what(4); break; \
    case 8: what(8); break; \
    default: what(16);      \
    }

static void do_list(char *to, const char *from, const place *places, int count, fastln_axis again, ptrdiff_t size) {
#define DO(size) copy_list(to, from, places, count, again, size)
    FOR_EACH_SIZE(DO)
#undef DO
}

static void do_line(char *to, const char *from, fastln_axis line, ptrdiff_t size) {
#define DO(size) copy_long_line(to, from, line, size)
    FOR_EACH_SIZE(DO)
#undef DO
}

static void do_tile(char *to, const char *from, fastln_axis a, fastln_axis b, ptrdiff_t size) {
#define DO(size) deal_tile(to, from, a, b, size) ? (void)0 : copy_tile(to, from, a, b, size)
    FOR_EACH_SIZE(DO)
#undef DO
}

/* Both ends of a line, so many bytes further on: a processor does not foresee short ones that lie apart. */
static void fetch_ends(char *to, const char *from, ptrdiff_t to_offset, ptrdiff_t from_offset, fastln_axis line) {
    PREFETCH(to, to_offset);
    PREFETCH(to, to_offset + (line.n - 1) * line.to);
    PREFETCH(from, from_offset);
    PREFETCH(from, from_offset + (line.n - 1) * line.from);
}

/* A tile that is read along so short an axis that the next one goes on in the same cache lines: a strip at a time,
 * along the whole of that one, or the lines would be gone before they come again. */
static void do_strips(fastln_axis next, fastln_axis b, fastln_axis a, char *to, const char *from, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < a.n; i += TURN) {
        fastln_axis strip = {fastln_least(TURN, a.n - i), a.to, a.from};
        for (ptrdiff_t k = 0; k < next.n; k++)
            do_tile(to + i * a.to + k * next.to, from + i * a.from + k * next.from, strip, b, size);
    }
}

/* The axes from number i on; the last two are a tile's, if `tile`. */
static void do_axes(const copy *c, int i, int tile, char *to, const char *from) {
    const fastln_axis *axis = c->axes + i;
    int left = c->ndim - i;
    if (left == 0) {
        memcpy(to, from, (size_t)c->size);
    } else if (left == 1 && axis->to == c->size && axis->from == c->size) {
        memcpy(to, from, (size_t)(axis->n * c->size));
    } else if (left == 1) {
        do_line(to, from, *axis, c->size);
    } else if (left == 2 && tile) {
        do_tile(to, from, axis[1], axis[0], c->size);
    } else if (left == 3 && tile && fastln_magnitude(axis->from) < FASTLN_LINE) {
        do_strips(axis[0], axis[1], axis[2], to, from, c->size);
    } else {
        for (ptrdiff_t k = 0; k < axis->n; k++) {
            if (left == 2) fetch_ends(to, from, (k + AHEAD) * axis->to, (k + AHEAD) * axis->from, axis[1]);
            do_axes(c, i + 1, tile, to + k * axis->to, from + k * axis->from);
        }
    }
}

/* The innermost axes as a list, which comes again along the others. */
static void do_lists(const copy *c, int first, int count, char *to, const char *from) {
    place places[LIST];
    for (int k = 0; k < count; k++) {
        int rest = k;
        places[k] = (place){0, 0};
        for (int i = c->ndim - 1; i >= first; i--) {
            places[k].to += rest % c->axes[i].n * c->axes[i].to;
            places[k].from += rest % c->axes[i].n * c->axes[i].from;
            rest /= (int)c->axes[i].n;
        }
    }
    ptrdiff_t times = 1;
    for (int i = 0; i < first - 1; i++) times *= c->axes[i].n;
    for (ptrdiff_t k = 0; k < times; k++) {
        ptrdiff_t rest = k, to_offset = 0, from_offset = 0;
        for (int i = first - 2; i >= 0; i--) {
            to_offset += rest % c->axes[i].n * c->axes[i].to;
            from_offset += rest % c->axes[i].n * c->axes[i].from;
            rest /= c->axes[i].n;
        }
        do_list(to + to_offset, from + from_offset, places, count, c->axes[first - 1], c->size);
    }
}

int fastln_sort_axes(fastln_axis *axes, int ndim) {
    int sorted = 0;
    for (int k = 0; k < ndim; k++) {
        fastln_axis axis = axes[k];
        if (axis.n == 1) continue;
        int i = sorted++;
        for (; i > 0 && fastln_magnitude(axes[i - 1].to) < fastln_magnitude(axis.to); i--) axes[i] = axes[i - 1];
        axes[i] = axis;
    }
    return sorted;
}

int fastln_merge_axes(fastln_axis *axes, int ndim) {
    for (int i = ndim - 1; i > 0; i--) {
        fastln_axis *outer = axes + i - 1, *inner = axes + i;
        if (outer->to != inner->n * inner->to || outer->from != inner->n * inner->from) continue;
        *outer = (fastln_axis){outer->n * inner->n, inner->to, inner->from};
        memmove(inner, inner + 1, (size_t)(--ndim - i) * sizeof *inner);
    }
    return ndim;
}

/* Two or four small values that lie side by side on both sides are one large one. */
static void widen(copy *c) {
    if (c->ndim == 0) return;
    fastln_axis *inner = c->axes + c->ndim - 1;
    if (inner->to != c->size || inner->from != c->size) return;
    ptrdiff_t bytes = inner->n * c->size;
    if (bytes == 4 || bytes == 8 || bytes == 16) c->size = bytes, c->ndim--;
}

void fastln_copy(char *to, const char *from, const fastln_axis *axes, int ndim, ptrdiff_t size) {
    copy c;
    c.size = size;
    memcpy(c.axes, axes, (size_t)ndim * sizeof *axes);
    c.ndim = fastln_merge_axes(c.axes, fastln_sort_axes(c.axes, ndim));
    widen(&c);
    int last = c.ndim - 1, read = last, first = c.ndim;
    for (int i = last; i >= 0; i--)
        if (fastln_magnitude(c.axes[i].from) < fastln_magnitude(c.axes[read].from)) read = i;
    int dense = last >= 0 && c.axes[last].to == c.size && c.axes[last].from == c.size;
    ptrdiff_t inner = last < 0 ? 1 : c.axes[last].n * (read == last ? 1 : c.axes[read].n);
    ptrdiff_t count = 1;
    while (first > 0 && count < SHORT && count * c.axes[first - 1].n <= LIST) count *= c.axes[--first].n;
    int reversed = last >= 0 && c.axes[last].to == c.size && c.axes[last].from == -c.size;
    if (inner < (reversed ? SHORT_REVERSED : SHORT) && !dense && first > 0 && first < c.ndim) {
        do_lists(&c, first, (int)count, to, from);
        return;
    }
    if (read < last) { /* it goes beside the last */
        fastln_axis b = c.axes[read];
        memmove(c.axes + read, c.axes + read + 1, (size_t)(last - 1 - read) * sizeof b);
        c.axes[last - 1] = b;
    }
    do_axes(&c, 0, read < last, to, from);
}
