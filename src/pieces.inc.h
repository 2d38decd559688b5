/* pieces.inc.h: what pieces.c needs of a kernel to normalize a row in pieces, to the same bits as a whole one. */

/* What the row is measured around, from the eight vectors of its sample. */
INLINE void N(do_near)(const char *sample, fastln_scale *scale, int centred) {
    VEC k = V(set1)((REAL)scale->k), near[4] = {V(set1)(0), V(set1)(0), V(set1)(0), V(set1)(0)};
    REAL minus[4];
    if (centred) near[0] = N(sample)(sample, LANES * SIZE, 8, 8, LANES, scale->cold ? &k : NULL);
    N(fold_near)(near, minus);
    scale->minus = minus[0];
}

INLINE void N(do_piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale, fastln_piece *piece, int centred) {
    VEC k = V(set1)((REAL)scale->k);
    _Static_assert(sizeof(N(sums)) == sizeof(fastln_piece), "a piece is two vectors");
    N(sums) s;
    N(any_row)(x, vectors, 0, (REAL)scale->minus, centred, scale->cold ? &k : NULL, &s);
    memcpy(piece, &s, sizeof s);
}

INLINE void N(keep_scale)(const N(scales) *s, fastln_scale *scale) {
    scale->minus = s->minus[0], scale->rstd = s->rstd[0], scale->shift = s->shift[0];
}

INLINE int N(do_combine)(const fastln_task *task, const fastln_rows *row, const char *tail, const fastln_piece *pieces,
                         ptrdiff_t leaf, fastln_scale *scale, int centred) {
    N(plan) plan = N(plan_of)(task, scale->k); /* 1 if it is not cold */
    ptrdiff_t leaves = plan.full / leaf, rest = plan.full % leaf;
    VEC zero = V(set1)(0), k = V(set1)((REAL)scale->k);
    N(sums) s[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}}, left[MAX_DEPTH];
    N(tree) tree = {left, 0};
    N(scales) found;
    REAL r[4], q[4];
    for (ptrdiff_t i = 0; i < leaves; i++) {
        memcpy(N(tree_next)(&tree), pieces + i, sizeof *s);
        N(tree_add)(&tree, i);
    }
    if (rest) memcpy(s, pieces + leaves, sizeof *s);
    found.minus[0] = (REAL)scale->minus;
    s[0] = N(with_tail)(N(tree_top)(&tree, s[0]), tail, plan.tail, V(set1)(found.minus[0]), centred,
                        scale->cold ? &k : NULL);
    N(fold_sums)(s, r, q);
    N(finish_one)(plan, r[0], q[0], &found);
    if (!scale->again && N(is_far)(plan, r[0], q[0])) {
        scale->minus = (REAL)(0 - found.mean[0]), scale->again = 1;
        return 0;
    }
    if (scale->cold)
        N(give_cold_stats)(task, row, 0, 1, &scale->k, &found);
    else if (N(is_fine)(&found, 0))
        N(give_stats)(task, row, 0, 1, &found);
    else
        return 0;
    N(keep_scale)(&found, scale);
    return 1;
}

INLINE void N(do_apply)(const fastln_task *task, const fastln_scale *scale, const fastln_rows *values, ptrdiff_t first,
                        ptrdiff_t count, int centred) {
    fastln_rows row = *values;
    N(scales) s;
    row.count = 1;
    s.minus[0] = (REAL)scale->minus, s.rstd[0] = (REAL)scale->rstd, s.shift[0] = (REAL)scale->shift;
    if (scale->cold)
        N(apply_cold)(task, scale, &row, first, count, &s, centred);
    else if (N(has_parts)(task))
        N(apply_parts)(task, &row, first, count, &s, centred, NULL, 0);
    else if (count * SIZE >= 3 * FASTLN_LINE && N(is_streamed)(task))
        N(stream_rows)(task, &row, first, count, &s, centred, 0);
    else
        N(apply_rows)(task, &row, first, count, &s, centred, task->layout == FASTLN_ROWS ? 0 : task->x_step,
                      task->layout == FASTLN_ROWS ? Y_AHEAD : task->y_step, FROM_MEMORY);
}

/* The scale of a row whose statistics are given. */
static int N(combine_given)(const fastln_task *task, const fastln_rows *row, const char *tail,
                            const fastln_piece *pieces, ptrdiff_t leaf, fastln_scale *scale) {
    N(scales) s;
    (void)task, (void)tail, (void)pieces, (void)leaf;
    scale->cold = !N(given)(row, 0, 1, &scale->k, &s);
    N(keep_scale)(&s, scale);
    return 1;
}
