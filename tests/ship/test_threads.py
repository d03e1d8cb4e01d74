"""One loaded artifact, called from several threads at a time, gives each of them its own answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from made_artifacts import made_contract
from small_models import CLASSES, PIXELS, built, clip, length_of
from understudy.ship.export import write_graphs
from understudy.ship.formats import FORMATS, is_installed
from understudy.ship.recognizer import ArtifactRecognizer

THREADS, CALLS = 8, 40
MODEL = "cnn-plain"

# LiteRT's converter takes ten seconds, a race of its interpreter no time at all.
EXECUTABLE = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "executorch" else [])
    for name, form in FORMATS.items()
    if form.RUNS_HERE
]


@pytest.fixture(scope="module", params=EXECUTABLE)
def recognizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ArtifactRecognizer:
    form = FORMATS[request.param]
    if not is_installed(form):
        pytest.skip(f"needs the extra {form.EXTRA}")
    folder: Path = tmp_path_factory.mktemp(request.param)
    model = built(MODEL)
    contract = made_contract(
        tuple("abcde"[:CLASSES]),
        frames=length_of(model),
        size=PIXELS,
        runtime=request.param,
        batch="any" if form.ANY_BATCH else 1,
        graphs=write_graphs(form, model, length_of(model), folder),
    )
    return ArtifactRecognizer(folder, contract, threads=1)


def test_clips_and_streams_of_eight_threads_do_not_mix(recognizer: ArtifactRecognizer) -> None:
    films = [clip(1, recognizer.clip_frames, seed) for seed in range(THREADS)]

    def read(film: Tensor) -> list[Tensor]:
        """Logits of the clip, then those of every step of its stream, and of its last state."""
        found, state = [recognizer(film).logits], recognizer.init_state(1)
        for frame in film.unbind(1):
            output, state = recognizer.step(frame, state)
            found.append(output.logits)
        return [*found, *state]

    alone = [read(film) for film in films]
    assert not any(torch.equal(alone[0][0], other[0]) for other in alone[1:])
    start = threading.Barrier(THREADS)

    def again(number: int) -> list[list[Tensor]]:
        start.wait()
        return [read(films[number]) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as crew:
        for expected, given in zip(alone, crew.map(again, range(THREADS)), strict=True):
            for one in given:
                assert all(map(torch.equal, one, expected))


def test_a_file_is_loaded_once_whoever_comes_first(recognizer: ArtifactRecognizer) -> None:
    fresh = ArtifactRecognizer(recognizer._path, recognizer.contract, threads=1)
    start = threading.Barrier(THREADS)

    def open_it(_: int) -> int:
        start.wait()
        return id(fresh._session("clip"))

    with ThreadPoolExecutor(THREADS) as crew:
        assert len(set(crew.map(open_it, range(THREADS)))) == 1
