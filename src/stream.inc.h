/* stream.inc.h: rows whose y is written past the caches, which so large an array would only sweep clean. Memory is not
 * read before it is written, if whole lines are written at once; and Intel's processors take more in from several pages
 * than from one, so some rows are written side by side there, or parts of a long one. AMD's (Zen 3 and 5) then take
 * 1.25 to 4 times as long as one row after the other. */

/* In place x has the cache lines already, scattered rows go through a window, and of a short row too many are shared
 * with its neighbours. */
INLINE int N(is_streamed)(const fastln_task *task) {
    return task->layout == FASTLN_ROWS && task->x != task->y && task->length * SIZE >= STREAMED_ROW &&
           N(array_size)(task) >= STREAMED;
}

#define LINE (FASTLN_LINE / SIZE) /* values */
#define LINE_VECTORS (LINE / LANES)

typedef struct { /* a row, or a part of one */
    const char *x;
    ELEMENT *y;
    const REAL *weight, *bias;
    VEC minus, rstd, shift;
    ptrdiff_t head; /* values before the first whole line of y */
} N(strand);

/* Strand number j, `count` values long, which is row j or, if `split`, the part of that number of the one row. */
INLINE N(strand) N(strand_of)(const fastln_task *task, const fastln_rows *rows, int j, ptrdiff_t first, ptrdiff_t count,
                              const N(scales) *s, int split) {
    ptrdiff_t at = split ? first + j * count : first;
    int row = split ? 0 : j;
    N(strand) t = {.x = rows->x + j * rows->stride.x, .y = (ELEMENT *)(rows->y + j * rows->stride.y)};
    if (task->weight) t.weight = (const REAL *)(rows->weight + row * rows->stride.weight) + at;
    if (task->bias) t.bias = (const REAL *)(rows->bias + row * rows->stride.bias) + at;
    t.minus = V(set1)(s->minus[row]), t.rstd = V(set1)(s->rstd[row]), t.shift = V(set1)(s->shift[row]);
    t.head = (ptrdiff_t)(-(uintptr_t)t.y % FASTLN_LINE) / SIZE;
    return t;
}

INLINE VEC N(strand_at)(const N(strand) *t, ptrdiff_t i, int n, int affine, int centred) {
    return N(apply)(t->x, t->weight, t->bias, i, n, t->minus, t->rstd, t->shift, t->rstd, t->rstd, affine, centred,
                    NULL);
}

/* One line, at value i. */
INLINE void N(stream_line)(const N(strand) *t, ptrdiff_t i, int affine, int centred) {
    for (int v = 0; v < LINE_VECTORS; v++, i += LANES) E(stream)(t->y + i, N(strand_at)(t, i, LANES, affine, centred));
}

INLINE void N(stream_lines)(const N(strand) *t, int strands, ptrdiff_t lines, ptrdiff_t ahead, int affine,
                            int centred) {
    for (ptrdiff_t line = 0; line < lines; line++) UNROLL4 for (int r = 0; r < strands; r++) {
            ptrdiff_t i = t[r].head + line * LINE;
            PREFETCH(t[r].x, i * SIZE + ahead);
            N(stream_line)(t + r, i, affine, centred);
        }
}

/* `n` values from number i on, less than a line. */
INLINE void N(write_some)(const N(strand) *t, ptrdiff_t i, ptrdiff_t n, int affine, int centred) {
    for (; n > 0; n -= LANES, i += LANES) {
        int some = n < LANES ? (int)n : LANES;
        E(store_n)(t->y + i, N(strand_at)(t, i, some, affine, centred), some);
    }
}

/* What a strand has before its lines, if `with_head`, and from value i on; the line that it shares with the next
 * one, if that follows at once, is written for both. */
INLINE void N(stream_ends)(const N(strand) *t, const N(strand) *next, int with_head, ptrdiff_t i, ptrdiff_t count,
                           int affine, int centred) {
    if (i + LINE <= count) {
        N(stream_line)(t, i, affine, centred);
        i += LINE;
    }
    if (with_head) N(write_some)(t, 0, t->head, affine, centred);
    if (i == count) return;
    if (!next) {
        N(write_some)(t, i, count - i, affine, centred);
        return;
    }
    ELEMENT both[2 * LINE];
    for (ptrdiff_t v = 0; v < LINE; v += LANES) {
        E(store)(both + v, N(strand_at)(t, count - LINE + v, LANES, affine, centred));
        E(store)(both + LINE + v, N(strand_at)(next, v, LANES, affine, centred));
    }
    for (ptrdiff_t v = 0; v < LINE; v += LANES) E(stream)(t->y + i + v, E(load)(both + LINE - (count - i) + v));
}

INLINE void N(stream_strands)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                              const N(scales) *s, int side_by_side, int split, ptrdiff_t ahead, int affine,
                              int centred) {
    ptrdiff_t lines = (count - LINE + 1) / LINE; /* of each; at least so many, whatever its head */
    int n = (int)rows->count, joined = rows->stride.y == count * SIZE, j = 0;
    N(strand) t[STRANDS + 1];
    for (; side_by_side && j + STRANDS <= n; j += STRANDS) {
        for (int r = 0; r < STRANDS; r++) t[r] = N(strand_of)(task, rows, j + r, first, count, s, split);
        N(stream_lines)(t, STRANDS, lines, ahead, affine, centred);
    }
    for (; j < n; j++) {
        t[0] = N(strand_of)(task, rows, j, first, count, s, split);
        N(stream_lines)(t, 1, lines, ahead, affine, centred);
    }
    t[1] = N(strand_of)(task, rows, 0, first, count, s, split);
    for (j = 0; j < n; j++) {
        int more = joined && j + 1 < n;
        t[0] = t[1];
        if (j + 1 < n) t[1] = N(strand_of)(task, rows, j + 1, first, count, s, split);
        N(stream_ends)(t, more ? t + 1 : NULL, j == 0 || !joined, t->head + lines * LINE, count, affine, centred);
    }
}

/* At least three lines of each row. */
static NOINLINE void N(stream_rows)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                                    const N(scales) *s, int centred, ptrdiff_t ahead) {
    ptrdiff_t part = count / (STRANDS * LINE) * LINE;
    int side_by_side = !fastln_cpu_is_amd();
    int parts = side_by_side && rows->count == 1 && part >= STREAMED_PART * LINE;
    fastln_rows strands = *rows;
    if (parts) strands.count = STRANDS, strands.stride.x = strands.stride.y = part * SIZE;
#define DO(affine) \
    N(stream_strands)(task, &strands, first, parts ? part : count, s, side_by_side, parts, ahead, affine, centred)
    FOR_AFFINE(task)
#undef DO
    ptrdiff_t done = STRANDS * part;
    if (parts && count > done) {
        fastln_rows rest = *rows;
        rest.x += done * SIZE, rest.y += done * SIZE;
        N(apply_rows)(task, &rest, first + done, count - done, s, centred, 0, 0, FROM_MEMORY);
    }
    stream_fence();
}

#undef LINE
#undef LINE_VECTORS
