"""Copies across splits, whatever was done to them, and strangers that are none."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch.nn import functional as F

from understudy.data.check.looks import look_of, packed, unpacked
from understudy.data.check.near import WINDOW, laid_over, near_pairs
from understudy.data.check.verdict import check_data, with_near_copies


def scene(seed: int) -> Image.Image:
    """Soft shapes, as a photograph seen from afar."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, 9, 9, generator=generator)
    large = F.interpolate(noise, [120, 160], mode="bicubic").clamp(0, 1)[0]
    return Image.fromarray((large * 255).byte().permute(1, 2, 0).numpy())


def look(image: Image.Image) -> np.ndarray:
    return look_of(torch.from_numpy(np.array(image)).permute(2, 0, 1))


CHANGES = {
    "as it is": lambda image: image,
    "smaller": lambda image: image.resize((81, 61)),
    "squeezed": lambda image: image.resize((100, 100)),
    "middle": lambda image: image.crop((13, 9, 147, 111)),
    "corner": lambda image: image.crop((31, 23, 160, 120)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_in_another_split_is_found_and_no_stranger(change):
    strangers = [look(scene(seed))[None] for seed in range(12)]
    copies = [look(CHANGES[change](scene(seed)))[None] for seed in (2, 5, 11)]
    split = np.array([0] * 12 + [1] * 3)
    found = near_pairs([*strangers, *copies], split)
    assert {(pair.first, pair.second) for pair in found} == {(2, 12), (5, 13), (11, 14)}


def test_within_a_split_nothing_is_a_leak():
    same = look(scene(0))[None]
    assert not near_pairs([same, same], np.array([1, 1]))
    assert near_pairs([same, same], np.array([0, 1]))


def test_films_are_one_where_most_of_their_moments_are():
    def film(*seeds):
        return np.stack([look(scene(seed)) for seed in seeds])

    whole, split = film(*range(12)), np.array([0, 1])
    assert near_pairs([whole, film(*range(4, 9))], split), "trimmed"
    assert not near_pairs([whole, film(4, 50, 51, 52, 53)], split), "one moment in common"
    assert not near_pairs([whole, np.zeros((0, 48, 48), np.uint8)], split), "nothing to see"


def test_a_pair_that_a_backbone_proposes_is_looked_at_too():
    clips = [look(scene(seed))[None] for seed in range(40)]
    clips.append(look(scene(7).crop((40, 30, 150, 112)))[None])
    split = np.array([0] * 40 + [1])
    assert laid_over(clips[7], clips[40])[0, 1] > WINDOW
    found = near_pairs(clips, split, np.array([[40, 7]]))
    assert [(pair.first, pair.second) for pair in found] == [(7, 40)]
    clips[7] = clips[7][:0]
    assert not near_pairs(clips, split, np.array([[40, 7]])), "a plain one has nothing to compare"


def test_looks_are_packed_without_loss():
    looks = np.random.default_rng(0).integers(0, 64, (5, 48, 48), np.uint8)
    assert (unpacked(packed(list(looks))) == looks).all()
    with pytest.raises(ValueError, match="decompressing"):
        unpacked("AAAA")


@pytest.mark.usefixtures("here")
def test_the_check_names_both_clips_their_splits_and_the_moments(film, table, tmp_path):
    def moving(seed):
        large = np.array(scene(seed).resize((90, 48)))
        return lambda number: large[:, number : number + 64]

    film("a.mp4", 20, picture=moving(1))
    film("again.mkv", 20, picture=lambda n: moving(1)(n)[4:44, 6:62], size=(56, 40))
    film("b.mp4", 20, picture=moving(2))
    film("plain.mp4", 20, picture=lambda n: np.full((48, 64, 3), 90 + n, np.uint8))
    rows = [("a.mp4", "x", "train"), ("again.mkv", "x", "test"), ("b.mp4", "y", "test")]
    checked = check_data(table(*rows, ("plain.mp4", "y", "train")))
    with_near_copies(checked, None)
    [found] = [one for one in checked.findings if one.kind == "near_leak"]
    assert (found.path, found.beside, found.rows, found.drop) == (
        "a.mp4",
        "again.mkv",
        (0, 1),
        (0,),
    )
    assert found.reason.startswith("in train, and in test; ")
    assert found.at_s[0] == pytest.approx(found.at_s[1], abs=0.3)
    assert checked.unchecked == ["copies of 1 clips in which there is hardly anything to see"]
