"""`c3d` and its relatives in two dimensions give what they give in three."""

import pytest
import torch

from small_models import OPTIONS, built
from understudy.ship.formats.flat_c3d import flatten_c3d
from understudy.ship.formats.prepare import plain_copy
from understudy.ship.graphs import graphs_of


@pytest.mark.parametrize("name", [name for name in OPTIONS if name.startswith("c3d")])
def test_no_third_dimension_and_the_same_outputs(name: str) -> None:
    for graph in graphs_of(built(name), 16):
        flat = flatten_c3d(plain_copy(graph.module))
        convolutions = [one for one in flat.modules() if isinstance(one, torch.nn.Conv3d)]
        assert convolutions == []
        inputs = graph.example(1)
        with torch.inference_mode():
            expected, given = graph.module(*inputs), flat(*inputs)
        for one, other in zip(expected, given, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
