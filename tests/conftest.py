"""What all tests share. Fixtures are real files that the tests write."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


ONE_WORKER = {
    "job": "main job",
    "workshop": "main job",
    "artifact": "artifact",
    "float_draft": "draft",
    "small_run": "draft",
    "theatre": "docs",
}
"""Fixtures that take half a minute to build -> what the tests that share one run beside."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one dear fixture go to one worker, so that it is built once."""
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in ONE_WORKER:
                item.add_marker(pytest.mark.xdist_group(ONE_WORKER[name]))
                break


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch finds none here")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures and clips; the test is skipped, saying so, where it is unset."""
    place = os.environ.get("UNDERSTUDY_REAL_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("UNDERSTUDY_REAL_DATA names no folder of real data")
    return Path(place).resolve()
