"""The meaning of the arguments is torch's, where torch has them. Needs torch, which no other test does."""

import numpy as np
import pytest

import fastln

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "affine", [(False, False), (True, False), (True, True)], ids=["plain", "weight", "weight_bias"]
)
@pytest.mark.parametrize("normalized_ndim", [1, 2, 3])
def test_layer_norm(normalized_ndim, affine):
    rng = np.random.default_rng(normalized_ndim)
    x = rng.standard_normal((4, 5, 6, 7))
    shape = x.shape[-normalized_ndim:]
    weight, bias = (rng.standard_normal(shape) if used else None for used in affine)
    expected = torch.nn.functional.layer_norm(
        torch.from_numpy(x), shape, *(p if p is None else torch.from_numpy(p) for p in (weight, bias)), eps=1e-5
    )
    y = fastln.layer_norm(x, weight, bias, 1e-5, axis=tuple(range(-normalized_ndim, 0)))
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-13, atol=1e-13)


def test_rms_norm():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((4, 5, 60)), rng.standard_normal(60)
    expected = torch.nn.functional.rms_norm(torch.from_numpy(x), (60,), torch.from_numpy(weight), 1e-6)
    np.testing.assert_allclose(fastln.rms_norm(x, weight, 1e-6), expected.numpy(), rtol=1e-13, atol=1e-13)


def of_torch(*arrays):
    return [a if a is None else torch.from_numpy(a) for a in arrays]


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("places", [(), (5,), (4, 7)])
def test_group_norm(groups, places):
    rng = np.random.default_rng(groups)
    x, weight, bias = rng.standard_normal((4, 6, *places)) + 3, rng.standard_normal(6), rng.standard_normal(6)
    for w, b in ((None, None), (weight, bias)):
        expected = torch.nn.functional.group_norm(*of_torch(x), groups, *of_torch(w, b), 1e-3).numpy()
        np.testing.assert_allclose(fastln.group_norm(x, groups, w, b, 1e-3), expected, rtol=1e-12, atol=1e-12)
        if groups == 6 and places:
            expected = torch.nn.functional.instance_norm(*of_torch(x), None, None, *of_torch(w, b), eps=1e-3).numpy()
            np.testing.assert_allclose(fastln.instance_norm(x, w, b, 1e-3), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("places", [(), (5,), (4, 7)])
def test_batch_norm(places):
    """At inference, and a few steps of training with its running statistics."""
    rng = np.random.default_rng(3)
    layer = torch.nn.functional.batch_norm
    weight, bias = rng.standard_normal((2, 6))
    mean, var = rng.standard_normal(6), rng.uniform(0.5, 2, 6)
    running = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    for momentum in (0.1, 0.5, 1.0):
        x = rng.standard_normal((4, 6, *places)) + 3
        expected = layer(*of_torch(x, mean, var, weight, bias), False, 0.1, 1e-3).numpy()
        y = fastln.batch_norm(x, mean, var, weight, bias, 1e-3)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)

        expected = layer(torch.from_numpy(x), *running, *of_torch(weight, bias), True, momentum, 1e-3).numpy()
        new = fastln.batch_moments(x)
        y = fastln.batch_norm(x, *new, weight, bias, 1e-3)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        fastln.update_running(mean, var, *new, x.size // 6, momentum=momentum)
        np.testing.assert_allclose(mean, running[0].numpy(), rtol=1e-12)
        np.testing.assert_allclose(var, running[1].numpy(), rtol=1e-12)
