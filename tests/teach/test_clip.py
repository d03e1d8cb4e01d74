"""The real open_clip code with a small random tower, from a local file, without a network."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.recipe import Data, Distill, Teacher
from understudy.run import open_run
from understudy.task import MULTI_LABEL, SINGLE_LABEL, Task
from understudy.teach.teachers import Fitting, FrozenTeacher, create_teacher
from understudy.teach.teachers.clip import load_tower, probe_head, text_head
from understudy.teach.train import resume, train

from .conftest import make_recipe

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
CLASSES = ("left", "right", "still")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Teacher:
    """A recipe's teacher section that names a local architecture and local weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "TinyTower.json").write_text(json.dumps(TINY), encoding="utf-8")
    open_clip.add_model_config(str(folder / "TinyTower.json"))
    torch.manual_seed(0)
    tower = open_clip.create_model("TinyTower")
    state = {name: tensor.contiguous() for name, tensor in tower.state_dict().items()}
    save_file(state, folder / "tiny.safetensors")
    return Teacher(
        kind="clip",
        architecture=str(folder / "TinyTower.json"),
        weights=None,
        weights_file=str(folder / "tiny.safetensors"),
        prompts=("a photo of {}.", "someone moving {}."),
    )


def random_frames(batch: int = 3, frames: int = 4, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def no_probe(headless: FrozenTeacher):
    raise AssertionError("nobody asked for a probe")


def make(
    files: Teacher,
    distill: Distill = Distill(),  # noqa: B008
    *,
    task: Task = SINGLE_LABEL,
    **changes,
):
    config = files.model_copy(update=changes)
    data = Data(manifest="-", size=48, frames=4)
    return create_teacher(config, distill, data, CLASSES, no_probe, task=task)


def test_zero_shot_logits_are_those_of_open_clip(files):
    recognizer = make(files).recognizer
    frames = random_frames(frames=1)
    tower = load_tower(files)
    tokenizer = open_clip.get_tokenizer("TinyTower")
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.inference_mode():
        pictures = F.normalize(tower.encode_image((frames[:, 0] / 255 - mean) / std), dim=-1)
        rows = []
        for label in CLASSES:
            texts = tower.encode_text(tokenizer([p.format(label) for p in files.prompts]))
            rows.append(F.normalize(F.normalize(texts, dim=-1).mean(0), dim=-1))
        expected = tower.logit_scale.exp() * pictures @ torch.stack(rows).T
        assert torch.allclose(recognizer(frames).logits, expected, atol=1e-4)


def test_embedding_is_the_mean_of_unit_frames_and_padding_is_ignored(files):
    recognizer = make(files).recognizer
    frames, lengths = random_frames(), torch.tensor([4, 1, 2])
    with torch.inference_mode():
        output = recognizer(frames, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = [
                F.normalize(recognizer(frames[row : row + 1, t : t + 1]).embedding, dim=-1)
                for t in range(length)
            ]
            assert torch.allclose(output.embedding[row], torch.cat(alone).mean(0), atol=1e-5)


def test_frames_of_another_size_are_resized_to_the_towers_own(files):
    recognizer = make(files).recognizer
    assert recognizer.input_size == 32
    grey = torch.full((1, 2, 3, 80, 80), 99, dtype=torch.uint8)
    with torch.inference_mode():
        big, small = recognizer(grey), recognizer(grey[..., :32, :32])
        assert torch.allclose(big.logits, small.logits, atol=1e-3)


def test_teacher_stays_frozen_whatever_is_asked(files):
    recognizer = make(files).recognizer.train()
    assert not any(module.training for module in recognizer.modules())
    assert not any(parameter.requires_grad for parameter in recognizer.parameters())


def test_head_that_was_never_trained_is_refused(files):
    with pytest.raises(UserError, match=r"would learn from random numbers.*distill\.beta=0"):
        make(files, head="none")
    teacher = make(files, Distill(beta=0), head="none")
    assert teacher.facts["head"] == "none"


def test_a_zero_shot_head_says_nothing_of_several_labels(files):
    with pytest.raises(UserError, match=r"not which of them hold.*teacher\.head=probe"):
        make(files, head="zero-shot", task=MULTI_LABEL)
    features = make(files, Distill(beta=0), head="zero-shot", task=MULTI_LABEL)
    assert features.facts["head"] == "zero-shot"


def test_a_probe_of_several_labels_is_fitted_on_labelled_clips_alone(
    files, clips, tmp_path, monkeypatch
):
    """Once: a second run finds it in the store."""
    from understudy.teach import probe

    rows = clips.read_text(encoding="utf-8").split()
    labels = ["", "|odd"]
    table = clips.parent / "several-probe.csv"
    changed = [
        line if not n else line.replace(",train", f"{labels[n % 2]},train").replace(
            ",val", f"{labels[n % 2]},val").replace(",test", f"{labels[n % 2]},test")
        for n, line in enumerate(rows)
    ]  # fmt: skip
    path, _, *rest = changed[3].split(",")
    changed[3] = ",".join([path, "", *rest])
    table.write_text("\n".join(changed) + "\n", encoding="utf-8")
    fitted = []
    fit = probe.probe_head
    monkeypatch.setattr(probe, "probe_head", lambda *a: fitted.append(a) or fit(*a))
    recipe = make_recipe(
        table, teacher=files.model_copy(update={"head": "probe"}).model_dump(), train={"epochs": 1},
        model={"options": {"backbone": "test_efficientnet", "heads": 2}},
    )  # fmt: skip
    run = train(recipe, tmp_path / "runs" / "one")
    [(fitting, number)] = fitted
    assert (number, tuple(fitting.targets.shape)) == (4, (29, 4))
    assert fitting.targets.isfinite().all()
    assert run.teacher is not None
    assert 0 < run.teacher["val"]["value"] <= 1
    train(recipe, tmp_path / "runs" / "two")
    assert len(fitted) == 1


def test_it_looks_at_the_students_frames_at_its_own_size(files):
    assert (make(files).sampling.size, make(files).sampling.frames) == (32, 4)
    chosen = make(files, frames=7, sampling="random_segment").sampling
    assert (chosen.frames, chosen.method, chosen.size) == (7, "random_segment", 32)


def test_probe_is_the_logistic_regression_it_says_it_is(files):
    generator = torch.Generator().manual_seed(1)
    centres = F.normalize(torch.randn(3, 32, generator=generator), dim=-1)
    targets = torch.arange(60) % 3
    noise = 0.05 * torch.randn(60, 32, generator=generator)
    embeddings = F.normalize(centres[targets] + noise, dim=-1)
    head = probe_head(Fitting(embeddings, targets, [str(n // 6) for n in range(60)]), 3)
    assert (head(embeddings).argmax(-1) == targets).all()
    some = targets < 2
    two = probe_head(Fitting(embeddings[some], targets[some], ["a", "b", "c", "d"] * 10), 2)
    from sklearn.linear_model import LogisticRegression

    oracles = [
        LogisticRegression(C=c, max_iter=2000).fit(
            embeddings[targets < 2].double().numpy(), targets[targets < 2].numpy()
        )
        for c in (0.1, 1.0, 10.0, 100.0)
    ]
    given = two(embeddings[targets < 2]).softmax(-1).numpy()
    close = [
        abs(o.predict_proba(embeddings[targets < 2].double().numpy()) - given).max() < 1e-4
        for o in oracles
    ]
    assert any(close), "two classes: probabilities are those of one of the candidates"


def test_probe_without_clips_of_a_class_is_refused():
    fitting = Fitting(torch.eye(2, 32), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(UserError, match="class number 2 has no clip"):
        probe_head(fitting, 3)


def test_a_probe_is_fitted_once_for_all_runs_and_resumes(files, clips, tmp_path, monkeypatch):
    from understudy.teach import probe

    fitted = []
    fit = probe.probe_head
    monkeypatch.setattr(probe, "probe_head", lambda *a: fitted.append(a) or fit(*a))
    config = files.model_copy(update={"head": "probe"}).model_dump()
    recipe = make_recipe(clips, teacher=config, train={"epochs": 1})
    options = {"backbone": "test_efficientnet", "heads": 2}
    model = recipe.model.model_copy(update={"options": options})
    recipe = recipe.model_copy(update={"model": model})
    first, second = train(recipe, tmp_path / "first"), train(recipe, tmp_path / "second")
    resume(first.path)
    assert len(fitted) == 1
    assert first.teacher == second.teacher
    [head] = (tmp_path / "teacher-store").rglob("probe-*.safetensors")
    content = bytearray(head.read_bytes())
    content[-1] ^= 1  # a flipped bit is found, and the probe fitted again
    head.write_bytes(content)
    third = train(recipe, tmp_path / "third")
    assert len(fitted) == 2
    assert third.teacher == first.teacher
    assert open_run(third.path).history == third.history


@pytest.mark.parametrize("head", ["zero-shot", "probe"])
def test_student_is_taught_by_a_clip_tower(files, clips, tmp_path, head):
    teacher = files.model_copy(update={"head": head}).model_dump()
    recipe = make_recipe(clips, teacher=teacher, train={"epochs": 2})
    recipe = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(
                update={"options": {"backbone": "test_efficientnet", "heads": 2}}
            )
        }
    )
    run = train(recipe, tmp_path / "run")
    assert run.data["model_options"]["embedding_dim"] == 32, "the student speaks in its space"
    assert run.teacher is not None
    assert run.teacher["head"] == head
    assert run.teacher["val"]["n"] == 9
    assert all(entry["train"]["feature"] > 0 for entry in run.history)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "ViT-B-31"}, "Did you mean ViT-B-32"),
        ({"architecture": "gone.json"}, "no model configuration gone.json"),
        ({"architecture": "ViT-B-32", "weights": "opnai"}, "Did you mean openai"),
        ({"weights_file": "gone.safetensors"}, "no weight file gone.safetensors"),
        ({"architecture": "RN50"}, "does not fit RN50"),
        ({"class_texts": {"lefft": "to the left"}}, "Did you mean left"),
    ],
)
def test_mistakes_are_named(files, changes, message):
    with pytest.raises(UserError, match=message):
        make(files, **changes)


def test_without_network_and_weights_it_says_which_file_to_fetch(monkeypatch, tmp_path):
    monkeypatch.setattr("understudy.teach.teachers.clip.is_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UserError) as caught:
        load_tower(Teacher(kind="clip"))
    for part in (
        "open_clip_model.safetensors",
        "timm/vit_base_patch32_clip_224.openai",
        "weights_file=PATH",
    ):
        assert part in str(caught.value)


def test_tag_brings_the_activation_that_its_weights_were_trained_with(files, monkeypatch):
    seen = {}

    def spy(architecture, **options):
        seen.update(options)
        raise RuntimeError("far enough")

    monkeypatch.setattr(open_clip, "create_model", spy)
    with pytest.raises(UserError, match="far enough"):
        load_tower(Teacher(kind="clip", weights_file=files.weights_file))
    assert seen["force_quick_gelu"] is True


def test_prompt_ensemble_weighs_sentences_alike(files):
    tower = load_tower(files)
    one = text_head(tower, files.model_copy(update={"prompts": ("a photo of {}.",)}), CLASSES)
    twice = text_head(tower, files.model_copy(update={"prompts": ("a photo of {}.",) * 2}), CLASSES)
    assert torch.allclose(one.weight, twice.weight, atol=1e-6)
    named = files.model_copy(update={"class_texts": {"still": "standing still"}})
    assert not torch.allclose(text_head(tower, named, CLASSES).weight[2], one.weight[2], atol=1e-4)


def test_fixture_is_local(files):
    assert Path(str(files.weights_file)).is_file()
