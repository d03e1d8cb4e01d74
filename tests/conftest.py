"""What all tests share. Fixtures are real files that the tests write."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


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
