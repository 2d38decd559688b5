/* cells.inc.h: a step of each recurrent cell for one dtype, over the rows of layer_norm and the activations.
 *
 * Ba, Kiros & Hinton 2016, "Layer Normalization", section 3.1 and the supplement. Where a norm is followed by the
 * addition of the input's term, that term is the bias of the norm. */

/* The layer norm of one row; y may be x. */
static void N(norm)(fastln_task *task, ptrdiff_t length, const REAL *weight, const REAL *bias, const REAL *x, REAL *y) {
    task->x = x, task->y = y, task->weight = weight, task->bias = bias;
    fastln_describe_rows(task, 1, length);
    fastln_runs row = {.first = fastln_first_rows(task), .count = 1};
    N(layer_norm_rows)(task, &row);
}

/* For each vector of a row: i is where it begins, and it has n values. */
#define FOR_EACH_VECTOR(i, n, length)                                    \
    for (ptrdiff_t i = 0, n = fastln_least(LANES, length); i < (length); \
         i += LANES, n = fastln_least(LANES, (length) - i))
#define LOAD(p) N(fetch)((const char *)(p), (int)n, NULL)

INLINE void N(put)(REAL *p, VEC v, ptrdiff_t n) {
    if (n == LANES)
        V(store)(p, v);
    else
        V(store_n)(p, v, (int)n);
}

/* h = f(LN(sums + input)) */
INLINE void N(rnn)(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *y,
                   int rectify) {
    ptrdiff_t hidden = step->hidden;
    FOR_EACH_VECTOR(i, n, hidden) N(put)(sums + i, V(add)(LOAD(sums + i), LOAD(input + i)), n);
    N(norm)(task, hidden, step->weight, step->bias, sums, sums);
    FOR_EACH_VECTOR(i, n, hidden) {
        VEC a = LOAD(sums + i), v = rectify ? N(relu)(a) : N(tanh)(a);
        N(put)(h + i, v, n);
        N(put)(y + i, v, n);
    }
}

static void N(rnn_tanh_row)(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *c,
                            REAL *y) {
    (void)c;
    N(rnn)(step, task, sums, input, h, y, 0);
}

static void N(rnn_relu_row)(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *c,
                            REAL *y) {
    (void)c;
    N(rnn)(step, task, sums, input, h, y, 1);
}

/* (f, i, o, g) = LN(sums) + input; c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(LN(c)) */
static void N(lstm_row)(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *c,
                        REAL *y) {
    ptrdiff_t hidden = step->hidden;
    REAL *f = sums, *in = f + hidden, *o = in + hidden, *g = o + hidden, *normed = sums;
    N(norm)(task, 4 * hidden, step->weight, input, sums, sums);
    FOR_EACH_VECTOR(i, n, hidden) {
        VEC new = V(mul)(N(sigmoid)(LOAD(in + i)), N(tanh)(LOAD(g + i)));
        N(put)(c + i, V(fma)(N(sigmoid)(LOAD(f + i)), LOAD(c + i), new), n);
    }
    N(norm)(task, hidden, step->inner_weight, step->inner_bias, c, normed);
    FOR_EACH_VECTOR(i, n, hidden) {
        VEC v = V(mul)(N(sigmoid)(LOAD(o + i)), N(tanh)(LOAD(normed + i)));
        N(put)(h + i, v, n);
        N(put)(y + i, v, n);
    }
}

/* (z, r) = LN(sums) + input; n = tanh(input + sigmoid(r) LN(sums)); h = (1 - sigmoid(z)) h + sigmoid(z) n */
static void N(gru_row)(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *c,
                       REAL *y) {
    ptrdiff_t hidden = step->hidden;
    REAL *z = sums, *r = z + hidden, *candidate = r + hidden;
    (void)c;
    N(norm)(task, 2 * hidden, step->weight, input, sums, sums);
    N(norm)(task, hidden, step->inner_weight, step->inner_bias, candidate, candidate);
    FOR_EACH_VECTOR(i, n, hidden) {
        VEC before = LOAD(h + i), term = LOAD(input + 2 * hidden + i);
        VEC new = N(tanh)(V(fma)(N(sigmoid)(LOAD(r + i)), LOAD(candidate + i), term));
        VEC v = V(fma)(N(sigmoid)(LOAD(z + i)), V(sub)(new, before), before);
        N(put)(h + i, v, n);
        N(put)(y + i, v, n);
    }
}

#undef LOAD
#undef FOR_EACH_VECTOR

typedef void (*N(cell_row))(const fastln_step *step, fastln_task *task, REAL *sums, const REAL *input, REAL *h, REAL *c,
                            REAL *y);

INLINE void N(do_step)(const fastln_step *step, N(cell_row) row) {
    ptrdiff_t hidden = step->hidden, width = step->width;
    fastln_task task; /* large, so only what is used gets a value */
    task.operation = FASTLN_layer_norm;
    task.dtype = step->dtype;
    task.subtract_mean = 1;
    task.wide = 0;
    task.mean = task.rstd = NULL;
    task.eps = step->eps;
    for (ptrdiff_t b = 0; b < step->batch; b++) {
        REAL *y = (REAL *)((char *)step->y + b * step->y_stride), *c = step->c;
        if (step->lengths && step->lengths[b] <= step->time)
            memset(y, 0, (size_t)hidden * sizeof *y);
        else
            row(step, &task, (REAL *)step->sums + b * width, (const REAL *)step->input + b * width,
                (REAL *)step->h + b * hidden, c ? c + b * hidden : NULL, y);
    }
}

#define CELL(name) \
    static void N(name##_step)(const fastln_step *step) { N(do_step)(step, N(name##_row)); }
FASTLN_FOR_EACH_CELL(CELL)
#undef CELL

#define CELL(name) N(name##_step),
static const fastln_run_cell N(cells)[] = {FASTLN_FOR_EACH_CELL(CELL)};
#undef CELL
