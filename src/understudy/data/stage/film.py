"""How it becomes files: who plays what and when, clips as H.264, stills as JPEG, two manifests.

Every frame is a key frame of one fixed quantiser: what the codec does to a picture then depends
on that picture alone, and a clip played backwards is the reversed clip to the last bit. A usual
group of pictures would give the first frame away, which is sharper than those after it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from understudy.data.stage.actions import ACTIONS, Performance, Style, draw_style, perform
from understudy.data.stage.actors import SHIRT, Actor, Colour, cast_actor, pick
from understudy.data.stage.camera import Camera, View, draw_camera
from understudy.data.stage.paint import paint_clip
from understudy.data.stage.places import paint_place
from understudy.data.stage.skeleton import Array
from understudy.data.stage.studio import studio
from understudy.data.whole_files import whole_file
from understudy.errors import UserError

FEWEST_CLIPS = 5 * len(ACTIONS)
SMALLEST = 32
COLUMNS = ("path", "label", "split", "group", "seconds", "fps", "width", "height")


@dataclass(frozen=True, slots=True)
class Take:
    """One clip to be filmed."""

    action: str
    actor: int
    order: int  # which of the actor's takes
    split: str
    number: int  # which clip of its action
    second: str | None = None  # the action that follows, after a cut

    @property
    def label(self) -> str:
        return "|".join(sorted(filter(None, (self.action, self.second))))

    @property
    def name(self) -> str:
        played = self.action if self.second is None else f"{self.action}_then_{self.second}"
        return f"{played}_{self.number:03d}"


def film_stage(
    out: Path,
    *,
    clips: int = 400,
    seed: int = 0,
    size: int = 96,
    pictures: bool = True,
    two_actions: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Film the data set into the folder `out`, which is made, and return it.

    Writes clips/<action>_<nnn>.mp4 (of two actions <first>_then_<second>_<nnn>.mp4) with
    manifest.csv and, unless `pictures` is false, one still of each action by each actor in another
    place: pictures/<action>_<nnn>.jpg with pictures.csv. The shorter side has `size` pixels. There
    is one actor for every ten clips, who plays every action once, each time in another place;
    actors are the groups, split 60/20/20. `two_actions` is the share of the clips in which another
    action follows the first, after a cut; they have both labels, their stills the first. `progress`
    is told how many clips are done and how many there will be. The same arguments give the same
    frames on the same machine. A still tells the actions of a mirrored pair apart no better than a
    coin.

    What was stopped half way is gone on with by the same call. Raises UserError if `out` holds
    anything else, is being filmed or cannot be written (what was filmed is then taken away), for
    too few clips, a size too small or odd, and a share that is none.
    """
    out = Path(out)
    if clips < FEWEST_CLIPS:
        raise UserError(
            f"{clips} clips are too few: every split needs every action by an actor of its own. "
            f"Ask for {FEWEST_CLIPS} or more."
        )
    if size < SMALLEST or size % 2:
        raise UserError(f"Size {size}: give an even number of pixels, {SMALLEST} or more.")
    if not 0 <= two_actions <= 1:
        raise UserError(f"Two actions in {two_actions:g} of the clips: give a share, 0 to 1.")
    takes = add_second(plan(clips, seed), seed, two_actions)
    asked = {"clips": clips, "seed": seed, "size": size, "pictures": pictures}
    if two_actions:
        asked["two_actions"] = two_actions
    with studio(out, asked):
        _film_all(out, takes, seed, size, pictures, progress)
    return out


def _film_all(
    out: Path,
    takes: list[Take],
    seed: int,
    size: int,
    pictures: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    actors = [cast(seed, number) for number in range(max(take.actor for take in takes) + 1)]
    clip_rows, picture_rows = [], []
    for done, take in enumerate(takes):
        actor = actors[take.actor]
        row = (take.split, actor.name)
        path = f"clips/{take.name}.mp4"
        shoots = draw_shoots(take, seed, size)
        if not (out / path).exists():  # it was stopped half way before
            frames = film_take(take, actor, seed, size)
            with whole_file(out / path) as partial:
                write_video(partial, frames, shoots[0].camera.fps)
        camera = shoots[0].camera
        seconds = f"{sum(shoot.frames for shoot in shoots) / camera.fps:.4f}"
        known = (seconds, camera.fps, camera.width, camera.height)
        clip_rows.append((path, take.label, *row, *known))
        if pictures:
            path = f"pictures/{take.name}.jpg"
            camera = draw_shoot(generator(seed, take, 1), size).camera
            if not (out / path).exists():
                still, _ = photograph(take.action, actor, generator(seed, take, 1), size)
                with whole_file(out / path) as partial:
                    Image.fromarray(still).save(partial, "JPEG", quality=92)
            picture_rows.append((path, take.action, *row, camera.width, camera.height))
        if progress is not None:
            progress(done + 1, len(takes))
    # The manifests come last: a folder without them was not finished.
    _write_table(out / "manifest.csv", COLUMNS, clip_rows)
    if pictures:
        columns = tuple(name for name in COLUMNS if name not in ("seconds", "fps"))
        _write_table(out / "pictures.csv", columns, picture_rows)


def plan(clips: int, seed: int) -> list[Take]:
    """Who plays what: every actor every action once, in a shuffled order.

    Where `clips` is no multiple of the actions, one more actor, of the training split, plays some.
    """
    rng = np.random.default_rng([seed, 1])
    whole, rest = divmod(clips, len(ACTIONS))
    held_out = max(1, round(0.2 * whole))
    splits = ["test"] * held_out + ["val"] * held_out
    splits += ["train"] * (whole - len(splits))
    rng.shuffle(splits)
    splits += ["train"] * (rest > 0)
    taken = dict.fromkeys(ACTIONS, 0)
    takes = []
    for actor, split in enumerate(splits):
        actions = [ACTIONS[i] for i in rng.permutation(len(ACTIONS))]
        for order, action in enumerate(actions[: clips - actor * len(ACTIONS)]):
            takes.append(Take(action, actor, order, split, taken[action]))
            taken[action] += 1
    return takes


def add_second(takes: list[Take], seed: int, share: float) -> list[Take]:
    """The same takes, in a share of them another action after the first."""
    chance, takes = np.random.default_rng([seed, 7]), list(takes)
    for place in chance.permutation(len(takes))[: round(share * len(takes))].tolist():
        others = [action for action in ACTIONS if action != takes[place].action]
        takes[place] = replace(takes[place], second=others[chance.integers(len(others))])
    return takes


def cast(seed: int, number: int) -> Actor:
    return cast_actor(f"actor_{number:03d}", np.random.default_rng([seed, 2, number]))


def generator(seed: int, take: Take, kind: int) -> np.random.Generator:
    """Chance of one take. The action is no part of the seed: it decides nothing but the poses."""
    return np.random.default_rng([seed, 3 + kind, take.actor, take.order])


@dataclass(frozen=True, slots=True)
class Shoot:
    """Everything about one take but its action and its actor."""

    style: Style
    camera: Camera
    prop_colour: Colour
    backdrop: Image.Image

    @property
    def frames(self) -> int:
        return round(self.style.seconds * self.camera.fps)


def draw_shoot(rng: np.random.Generator, size: int) -> Shoot:
    style, camera = draw_style(rng), draw_camera(rng, size)
    return Shoot(style, camera, pick(SHIRT, rng), paint_place(camera, rng))


def draw_shoots(take: Take, seed: int, size: int) -> list[Shoot]:
    """One for each action of a take: the second has another style, before the same camera."""
    first = draw_shoot(generator(seed, take, 0), size)
    if take.second is None:
        return [first]
    return [first, replace(first, style=draw_style(generator(seed, take, 2)))]


def film_take(take: Take, actor: Actor, seed: int, size: int) -> list[Array]:
    """All frames of a take, each (H, W, 3) uint8 RGB."""
    frames, _ = film(take.action, actor, generator(seed, take, 0), size)
    if take.second is not None:
        *_, shoot = draw_shoots(take, seed, size)
        frames += _play(take.second, actor, shoot, generator(seed, take, 3))
    return frames


def film(
    action: str, actor: Actor, rng: np.random.Generator, size: int
) -> tuple[list[Array], Camera]:
    """One clip: its frames, each (H, W, 3) uint8 RGB, and the camera that filmed them."""
    shoot = draw_shoot(rng, size)
    return _play(action, actor, shoot, rng), shoot.camera


def _play(action: str, actor: Actor, shoot: Shoot, rng: np.random.Generator) -> list[Array]:
    performance = perform(action, actor, shoot.style, shoot.frames)
    view = View(shoot.camera, shoot.frames, rng)
    return paint_clip(actor, performance, view, shoot.backdrop, shoot.prop_colour, rng)


def photograph(
    action: str, actor: Actor, rng: np.random.Generator, size: int
) -> tuple[Array, Camera]:
    """One still (H, W, 3) uint8 RGB from the middle of an action, and the camera."""
    shoot = draw_shoot(rng, size)
    number = int(rng.integers(shoot.frames // 4, shoot.frames - shoot.frames // 4))
    played = perform(action, actor, shoot.style, shoot.frames)
    moment = slice(number, number + 1)
    joints = {name: points[moment] for name, points in played.joints.items()}
    still = Performance(joints, played.prop, played.place[moment], played.turn, played.style)
    view = View(shoot.camera, 1, rng)
    return paint_clip(actor, still, view, shoot.backdrop, shoot.prop_colour, rng)[0], shoot.camera


def write_video(path: Path, frames: list[Array], fps: int) -> None:
    """Write frames (H, W, 3) uint8 RGB as H.264, every frame on its own."""
    with av.open(f"file:{path}", "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"preset": "veryfast", "qp": "24", "g": "1", "bf": "0"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def _write_table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
