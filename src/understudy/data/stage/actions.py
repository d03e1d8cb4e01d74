"""What is played: one script per action, from progress s in [0, 1] to poses.

The second action of a mirrored pair has no script of its own: it is the first one played
backwards, everything else being drawn from the same distributions. So within a pair any statistic
that ignores the order of frames has the same distribution for both, and only time order tells.
Walking is done facing the camera, in side steps, so that no frame shows where the actor is going.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from understudy.data.stage.actors import Actor
from understudy.data.stage.skeleton import Array, Joints, solve_joints

MIRRORED_PAIRS: tuple[tuple[str, str], ...] = (
    ("pick_up", "put_down"),
    ("sit_down", "stand_up"),
    ("walk_right", "walk_left"),
    ("put_on_hat", "take_off_hat"),
)
"""(a, b): b is a in reverse."""

ACTIONS: tuple[str, ...] = (*(name for pair in MIRRORED_PAIRS for name in pair), "wave", "jump")


@dataclass(frozen=True, slots=True)
class Style:
    """How one take is played. Drawn without knowing the action."""

    seconds: float
    holds: tuple[float, float]  # shares of the clip before and after the movement
    ends: tuple[float, float]  # progress cut off at the start and at the end
    pause: tuple[float, float, float]  # place in the movement, share of the clip, progress there
    width: float  # -1..1: narrow or wide stance
    depth: float  # -1..1: small or large movement
    rhythm: float  # -1..1: slow or fast
    phase: float  # 0..1
    right_handed: bool
    turn: float  # -1..1: how far the actor is turned from the camera
    mark: float  # where the actor stands, in body heights right of the middle


def draw_style(rng: np.random.Generator) -> Style:
    """Draw a style. Its distribution is the same played forwards and backwards."""
    pauses = rng.random() < 0.35
    place = rng.uniform(0.3, 0.7)
    return Style(
        seconds=rng.uniform(1.0, 3.0),
        holds=(rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.2)),
        ends=(rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.05)),
        pause=(place, rng.uniform(0.06, 0.15) if pauses else 0.0, place + rng.uniform(-0.1, 0.1)),
        width=rng.uniform(-1, 1),
        depth=rng.uniform(-1, 1),
        rhythm=rng.uniform(-1, 1),
        phase=rng.random(),
        right_handed=bool(rng.random() < 0.5),
        turn=rng.uniform(-1, 1),
        mark=rng.uniform(-0.07, 0.07),
    )


def progress(style: Style, time: Array) -> Array:
    """How far the movement has come (T,) at `time` (T,), both from 0 to 1; it never goes back."""
    start, stop = style.holds[0], 1.0 - style.holds[1]
    low, high = style.ends[0], 1.0 - style.ends[1]
    times, values = [0.0, start], [low, low]
    place, share, value = style.pause
    if share > 0:
        middle = start + place * (stop - start)
        at = low + value * (high - low)
        times += [middle - share / 2, middle + share / 2]
        values += [at, at]
    times += [stop, 1.0]
    values += [high, high]
    return PchipInterpolator(times, values)(time)


@dataclass(frozen=True, slots=True)
class Performance:
    """What happens in one clip, before any camera: T frames."""

    joints: Joints
    prop: str | None  # box | chair | hat
    place: Array  # (T, 3) where the prop is
    turn: float  # radians about the vertical
    style: Style


def perform(action: str, actor: Actor, style: Style, frames: int) -> Performance:
    """Play an action in `frames` evenly spaced moments, each in the middle of its interval."""
    time = (np.arange(frames) + 0.5) / frames
    for first, second in MIRRORED_PAIRS:
        if action == second:
            action, time = first, time[::-1]
    script = _SCRIPTS[action]
    # The anchor is one more moment, at which the prop changes hands, solved with the others.
    moments = np.append(progress(style, time), script.anchor)
    pose = script.play(moments, np.append(time, 0.5), style)
    pose[:, 0] += style.mark
    joints = solve_joints(actor, pose)
    place = _place_prop(script, actor, joints, moments)[:-1]
    joints = {name: points[:-1] for name, points in joints.items()}
    return Performance(joints, script.prop, place, style.turn * script.max_turn, style)


BOX = np.array([0.105, 0.085, 0.085])
"""Half the width, height and depth of the box, in body heights."""


def _place_prop(script: Script, actor: Actor, joints: Joints, moments: Array) -> Array:
    hands = (joints["left_hand"] + joints["right_hand"]) / 2
    if script.prop == "box":
        carried = np.where((moments >= script.anchor)[:, None], hands, hands[-1])
        return carried - hands[-1] + [hands[-1, 0], BOX[1], hands[-1, 2]]
    if script.prop == "chair":
        seat = joints["pelvis"][-1] - [0.0, actor.girth * 0.8, 0.0]
        return np.broadcast_to(seat, hands.shape)
    if script.prop == "hat":
        holder = "right_hand" if joints["right_hand"][-1, 1] > joints["left_hand"][-1, 1] else (
            "left_hand"
        )  # fmt: skip
        worn = np.clip((moments - script.anchor + 0.06) / 0.12, 0.0, 1.0)[:, None]
        on_head = joints["head"] + joints["up"] * 0.72
        return worn * on_head + (1 - worn) * (joints[holder] + [0.0, 0.03, 0.0])
    return hands


def key(
    pelvis: tuple[float, float, float] = (0.0, 1.0, 0.0),
    lean: float = 0.0,
    nod: float = 0.0,
    left: tuple[float, float, float] = (0.14, -0.96, 0.06),
    right: tuple[float, float, float] = (0.14, -0.96, 0.06),
    stance: float = 0.075,
    lift: float = 0.0,
) -> Array:
    """A pose (18,): mark, pelvis, lean, nod, hands, feet.

    The pelvis's height is a share of its standing height; hands are arm lengths from their own
    shoulders, x outwards; feet stand `stance` to both sides of the mark.
    """
    foot = (stance, lift, 0.0)
    return np.array([0.0, *pelvis, lean, nod, *left, *right, *foot, *foot])


@dataclass(frozen=True, slots=True)
class Script:
    play: Callable[[Array, Array, Style], Array]
    """(progress (T,), time (T,), style) -> poses (T, 18)."""
    prop: str | None = None
    anchor: float = 0.5
    max_turn: float = 0.8


def _between(moments: Array, *keys: tuple[float, Array]) -> Array:
    return PchipInterpolator([at for at, _ in keys], np.stack([k for _, k in keys]))(moments)


def _pick_up(moments: Array, time: Array, style: Style) -> Array:
    stance = 0.1 + 0.02 * style.width
    reach, carry = (0.0, -0.87, 0.4), (-0.02, -0.42 + 0.08 * style.depth, 0.62)
    down = key(
        (0.0, 0.53, -0.13), lean=0.9 + 0.08 * style.depth, nod=-0.1, left=reach, right=reach,
        stance=stance,
    )  # fmt: skip
    return _between(
        moments,
        (0.0, key(stance=stance)),
        (0.45, down),
        (0.55, down),
        (1.0, key(left=carry, right=carry, lean=-0.04, stance=stance)),
    )


def _sit_down(moments: Array, time: Array, style: Style) -> Array:
    stance = 0.085 + 0.02 * style.width
    ahead, knees = (0.0, -0.6, 0.6), (-0.05, -0.72, 0.5)
    lean = 0.5 + 0.12 * style.depth
    return _between(
        moments,
        (0.0, key(stance=stance)),
        (0.5, key((0.0, 0.8, -0.15), lean, -0.1, ahead, ahead, stance)),
        (1.0, key((0.0, 0.56, -0.23), 0.03, 0.0, knees, knees, stance)),
    )


def _walk_right(moments: Array, time: Array, style: Style) -> Array:
    distance = 0.72 + 0.1 * style.depth
    steps = 2.5 + 0.8 * style.rhythm
    angle = np.pi * (steps * moments + style.phase)
    swing = np.sin(angle)
    pose = np.repeat(key()[None], len(moments), axis=0)
    pose[:, 0] = distance * (moments - 0.5) - 0.6 * style.mark
    pose[:, 2] -= 0.03 * np.abs(swing)
    pose[:, 6] = pose[:, 9] = 0.2 + 0.18 * np.abs(swing)
    pose[:, 12] = pose[:, 15] = 0.05 + (0.055 + 0.015 * style.width) * np.abs(swing)
    pose[:, 13] = 0.05 * np.maximum(np.sin(2 * angle), 0.0)
    pose[:, 16] = 0.05 * np.maximum(-np.sin(2 * angle), 0.0)
    return pose


def _put_on_hat(moments: Array, time: Array, style: Style) -> Array:
    low, out = (0.1, -0.72, 0.5), (0.6, -0.1, 0.55 + 0.15 * style.depth)
    top = (-0.14, 0.86, 0.12)
    still = key()
    keys = [still.copy() for _ in range(6)]
    hand = slice(9, 12) if style.right_handed else slice(6, 9)
    for pose, place in zip(keys, (low, out, top, top, out, still[hand]), strict=True):
        pose[hand] = place
    return _between(moments, *zip((0.0, 0.27, 0.5, 0.6, 0.8, 1.0), keys, strict=True))


def _wave(moments: Array, time: Array, style: Style) -> Array:
    pose = np.repeat(key(stance=0.075 + 0.02 * style.width)[None], len(moments), axis=0)
    raised = np.interp(moments, (0.0, 0.2, 0.8, 1.0), (0.0, 1.0, 1.0, 0.0))[:, None]
    swing = np.sin(2 * np.pi * ((1.8 + 0.5 * style.rhythm) * style.seconds * time + style.phase))
    up = np.stack(
        [0.45 + (0.36 + 0.08 * style.depth) * swing, 0.78 - 0.1 * swing**2, 0.1 + 0 * swing],
        axis=-1,
    )
    hand = slice(9, 12) if style.right_handed else slice(6, 9)
    pose[:, hand] = raised * up + (1 - raised) * pose[:, hand]
    return pose


def _jump(moments: Array, time: Array, style: Style) -> Array:
    jumps = 1 if style.seconds < 1.6 else 2
    # Crouch, fly, crouch: a parabola whose negative ends are the crouches.
    cycle = (moments * jumps) % 1.0
    height = np.interp(moments, (0.0, 0.05, 0.95, 1.0), (0.0, 1.0, 1.0, 0.0)) * (
        1.0 - (4.2 * (cycle - 0.5)) ** 2 * 0.55
    )
    flight, crouch = np.maximum(height, 0.0), np.minimum(np.maximum(-height, 0.0), 1.0)
    pose = np.repeat(key(stance=0.07 + 0.02 * style.width)[None], len(moments), axis=0)
    leap = (0.14 + 0.02 * style.depth) * flight
    pose[:, 2] += leap / 0.47 - 0.28 * crouch
    pose[:, 3] -= 0.05 * crouch
    pose[:, 4] = 0.35 * crouch
    pose[:, 13] = pose[:, 16] = leap + 0.03 * flight
    up, back = np.array((0.55, 0.75, 0.1)), np.array((0.3, -0.75, -0.45))
    for hand in (slice(6, 9), slice(9, 12)):
        rest = pose[:, hand] + crouch[:, None] * (back - pose[:, hand])
        pose[:, hand] = rest + np.minimum(1.6 * flight, 1.0)[:, None] * (up - rest)
    return pose


_SCRIPTS = {
    "pick_up": Script(_pick_up, "box", max_turn=1.1),
    "sit_down": Script(_sit_down, "chair", anchor=1.0, max_turn=1.1),
    "walk_right": Script(_walk_right, max_turn=0.3),
    "put_on_hat": Script(_put_on_hat, "hat", anchor=0.55),
    "wave": Script(_wave),
    "jump": Script(_jump),
}
