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
