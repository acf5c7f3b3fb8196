"""Elementwise ops of two operands on any two shapes that go together; a file of its own, as Hypothesis is optional."""

import numpy as np
import pytest
from gradcheck import check_gradient
from tables.ops import CASES, Case

from fastgan.tape import Tensor, grad

pytest.importorskip("hypothesis", reason="Hypothesis is not installed")

from hypothesis import given, settings
from hypothesis.extra.numpy import BroadcastableShapes, mutually_broadcastable_shapes


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.elementwise and len(case.shapes) == 2], ids=str
)
def test_broadcasting(case: Case) -> None:
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_dims=3, max_side=3))
    def sweep(shapes: BroadcastableShapes) -> None:
        xs = case.operands(shapes=shapes.input_shapes)
        inputs = [Tensor(x, requires_grad=True) for x in xs]
        y = case.op(*inputs)
        assert y.shape == shapes.result_shape
        np.testing.assert_allclose(y.data, case.reference(*xs), rtol=1e-12)
        assert tuple(g.shape for g in grad(y.sum(), inputs)) == shapes.input_shapes
        if y.size:
            check_gradient(case.op, xs)
            check_gradient(case.op, xs, order=2)

    sweep()
