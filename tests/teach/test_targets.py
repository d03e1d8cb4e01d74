import torch
from torch import Tensor, nn

from understudy.data.loader import make_loader
from understudy.data.sources import read_manifest
from understudy.models import create_model
from understudy.recipe import Augment
from understudy.teach.targets import TargetCache, cache_key, worth_caching
from understudy.types import Output, Recognizer

from .conftest import MODEL, make_recipe


class Counting(Recognizer):
    """A teacher that counts how often it is asked."""

    def __init__(self, teacher: Recognizer) -> None:
        super().__init__()
        self.teacher, self.calls = teacher, 0
        self.head = nn.Identity()

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        self.calls += 1
        return self.teacher(frames, lengths)


def teacher() -> Recognizer:
    torch.manual_seed(0)
    return create_model("frames-attention", 3, **MODEL).eval()


def test_cached_teaching_gives_the_numbers_of_live_teaching(clips, tmp_path):
    augment = Augment(crop_scale=0.5, brightness=0.5, views=2)
    data = make_recipe(clips, data={"augment": augment.model_dump()}).data
    manifest = read_manifest(clips)
    rows = manifest.rows("train")
    loader = make_loader(manifest, data, rows, batch_size=7, shuffle_seed=3, augment=True)
    live, counting = teacher(), Counting(teacher())
    cache = TargetCache(counting, tmp_path)
    views = set()
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        before = counting.calls
        for batch in loader:
            views.add(batch.view)
            with torch.no_grad():
                expected = live(batch.frames, batch.lengths)
            given = cache.teach(batch)
            assert torch.allclose(given.logits, expected.logits, atol=1e-5)
            assert torch.allclose(given.embedding, expected.embedding, atol=1e-5)
        assert (counting.calls == before) == (epoch >= 2), "each view is asked for once"
        cache.flush()
    assert views == {0, 1}

    # Another process reads the same values from disk and never asks.
    other = Counting(teacher())
    reread = TargetCache(other, tmp_path)
    for batch in loader:
        assert torch.equal(reread.teach(batch).logits, cache.teach(batch).logits)
    assert other.calls == 0


def test_one_output_per_clip_would_teach_the_wrong_target(clips):
    # The reason for keeping outputs per view: draws differ by far more than rounding.
    data = make_recipe(clips, data={"augment": {"crop_scale": 0.3}}).data
    manifest = read_manifest(clips)
    loader = make_loader(manifest, data, manifest.rows("val"), batch_size=9, augment=True)
    outputs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        with torch.no_grad():
            outputs += [teacher()(batch.frames, batch.lengths).logits for batch in loader]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


def test_key_follows_everything_that_changes_an_output(clips):
    data = make_recipe(clips).data
    key = cache_key("teacher", "clips", data)
    assert cache_key("teacher", "clips", data.model_copy(update={"workers": 3})) == key
    assert cache_key("other", "clips", data) != key
    assert cache_key("teacher", "others", data) != key
    for change in ({"size": 48}, {"frames": 8}, {"seed": 1}, {"augment": Augment(flip=0.5)}):
        assert cache_key("teacher", "clips", data.model_copy(update=change)) != key


def test_new_draws_in_every_epoch_are_not_kept(clips):
    data = make_recipe(clips).data
    assert worth_caching(data)
    assert not worth_caching(data.model_copy(update={"augment": Augment(flip=0.5)}))
    assert worth_caching(data.model_copy(update={"augment": Augment(flip=0.5, views=4)}))
    assert not worth_caching(data.model_copy(update={"sampling": "random_segment"}))
