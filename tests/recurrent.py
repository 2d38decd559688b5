"""The cells of fastln.rnn as their paper has them, one step after the other in extended precision.

Ba, Kiros & Hinton 2016, "Layer Normalization", arXiv:1607.06450: section 3.1 and the supplement. Does not import
fastln."""

import numpy as np

WIDE = np.longdouble


def layer_norm(v, parameters, name, eps):
    v = v - v.mean(-1, keepdims=True)
    v = v / np.sqrt((v * v).mean(-1, keepdims=True) + WIDE(eps))
    return v * parameters.get(f"{name}_weight", 1) + parameters.get(f"{name}_bias", 0)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def rnn(p, x, state, eps, f=np.tanh):
    (h,) = state
    return (f(layer_norm(h @ p["weight_hh"].T + x @ p["weight_ih"].T, p, "norm", eps)),)


def lstm(p, x, state, eps):
    h, c = state
    recurrent = layer_norm(h @ p["weight_hh"].T, p, "norm_hh", eps)
    sums = recurrent + layer_norm(x @ p["weight_ih"].T, p, "norm_ih", eps) + p.get("bias", 0)
    f, i, o, g = np.split(sums, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(layer_norm(c, p, "norm_c", eps)), c


def gru(p, x, state, eps):
    (h,) = state
    hidden = h.shape[-1]
    w_h, u = np.split(p["weight_hh"], [2 * hidden])
    w_x, w = np.split(p["weight_ih"], [2 * hidden])
    z, r = np.split(layer_norm(h @ w_h.T, p, "norm_hh", eps) + layer_norm(x @ w_x.T, p, "norm_ih", eps), 2, axis=-1)
    n = np.tanh(layer_norm(x @ w.T, p, "norm_in", eps) + sigmoid(r) * layer_norm(h @ u.T, p, "norm_hn", eps))
    return ((1 - sigmoid(z)) * h + sigmoid(z) * n,)


def run(cell, parameters, x, state, eps=1e-5, lengths=None, **options):
    """(y, final state) of x (T, B, I), all in extended precision; row by row, as a row's length may be shorter."""
    parameters = {name: np.asarray(v, WIDE) for name, v in parameters.items()}
    x = np.asarray(x, WIDE)
    steps, batch = x.shape[:2]
    state = [np.array(part, WIDE) for part in state]
    y = np.zeros((steps, batch, state[0].shape[1]), WIDE)
    for b in range(batch):
        for t in range(steps if lengths is None else lengths[b]):
            new = cell(parameters, x[t, b : b + 1], [part[b : b + 1] for part in state], eps, **options)
            for part, value in zip(state, new, strict=True):
                part[b] = value[0]
            y[t, b] = new[0][0]
    return y, tuple(state)
