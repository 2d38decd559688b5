/* pieces.inc.h: what pieces.c needs of a kernel to normalize a row in pieces, to the same bits as a whole one. */

INLINE void N(do_piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale, fastln_piece *piece, int centred) {
    VEC k = V(set1)((REAL)scale->k);
    _Static_assert(sizeof(N(lanes)) == sizeof(fastln_piece), "a piece is three vectors");
    N(lanes) s = N(vectors)(x, LANES * SIZE, vectors, LANES, centred, scale->cold ? &k : NULL);
    memcpy(piece, &s, sizeof s);
}

INLINE int N(do_combine)(const fastln_task *task, const fastln_rows *row, const char *tail, const fastln_piece *pieces,
                         ptrdiff_t leaf, fastln_scale *scale, int centred) {
    N(plan) plan = N(plan_of)(task, scale->k); /* 1 if it is not cold */
    ptrdiff_t leaves = plan.full / leaf, rest = plan.full % leaf;
    VEC zero = V(set1)(0), k = V(set1)((REAL)scale->k);
    N(lanes) s[4] = {{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}};
    N(tree) tree;
    tree.depth = 0;
    for (ptrdiff_t i = 0; i < leaves; i++) {
        memcpy(s, pieces + i, sizeof *s);
        N(tree_push)(&tree, s[0], i, leaf, centred);
    }
    if (rest) memcpy(s, pieces + leaves, sizeof *s);
    s[0] = N(tree_top)(&tree, leaves, leaf, s[0], rest, centred);
    N(scales) found;
    int fine = N(merge_one)(plan, tail, s, centred, scale->cold ? &k : NULL, &found);
    if (scale->cold)
        N(give_cold_stats)(task, row, 0, 1, &scale->k, &found);
    else if (fine)
        N(give_stats)(task, row, 0, 1, &found);
    else
        return 0;
    scale->minus = found.minus[0], scale->rstd = found.rstd[0], scale->shift = found.shift[0];
    return 1;
}

INLINE void N(do_apply)(const fastln_task *task, const fastln_scale *scale, const char *x, char *y, ptrdiff_t first,
                        ptrdiff_t count, int centred) {
    fastln_rows row = {.x = x, .y = y, .count = 1};
    N(scales) s;
    s.minus[0] = (REAL)scale->minus, s.rstd[0] = (REAL)scale->rstd, s.shift[0] = (REAL)scale->shift;
    if (scale->cold)
        N(apply_cold)(task, scale, x, y, first, count, &s, centred);
    else if (count * SIZE >= 3 * FASTLN_LINE && N(is_streamed)(task))
        N(stream_rows)(task, &row, first, count, &s, centred, 0);
    else
        N(apply_rows)(task, &row, first, count, &s, centred, task->layout == FASTLN_ROWS ? 0 : task->x_step,
                      task->layout == FASTLN_ROWS ? Y_AHEAD : task->y_step, FROM_MEMORY);
}
