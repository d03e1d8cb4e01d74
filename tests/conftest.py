"""What all tests share. Fixtures are real files that the tests write."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

torch.set_num_threads(1)


ONE_WORKER = {
    "test_cli.py": "the main job",
    "test_docs.py": "the theatre",
    "ship/test_artifact.py": "an artifact",
    "ship/test_card.py": "an artifact",
    "ship/test_classifier.py": "an artifact",
    "ship/test_hub.py": "an artifact",
    "ship/test_export.py": "an artifact",
    "ship/bench/test_measure.py": "an artifact",
    "ship/bench/test_lineup.py": "an artifact",
    "ship/int8/test_calibration.py": "a draft",
    "ship/int8/test_auto.py": "a draft",
    "teach/test_qat.py": "a quantised run",
}
"""Files whose tests share what takes half a minute to build -> what that is."""


class OncePerWorker(LoadScopeScheduling):
    """Deals tests out one by one, but those of ONE_WORKER together: what they share is built once.

    Groups of pytest-xdist itself (`loadgroup`) have no effect from pytest 9.2 on.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/")
        return ONE_WORKER.get(file, nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return OncePerWorker(config, log)


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
