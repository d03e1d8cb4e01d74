"""How a pose becomes joints: a small skeleton in three dimensions, solved for all frames at once.

x goes to the actor's left (the viewer's right when the actor faces the camera), y up from the
floor, z forward. T frames; lengths in body heights.
"""

from __future__ import annotations

import numpy as np

from understudy.data.stage.actors import ANKLE, Actor

Array = np.ndarray
Joints = dict[str, Array]
"""Name of a joint -> its positions, (T, 3)."""

SIDES = (("left", 1.0), ("right", -1.0))


def solve_joints(actor: Actor, pose: Array) -> Joints:
    """Joints of `pose` (T, 18), whose columns are those of `actions.key`.

    Hands and feet go where the pose asks as far as the limbs reach; bones keep their lengths.
    """
    mark, pelvis, lean, nod = pose[:, 0], pose[:, 1:4].copy(), pose[:, 4], pose[:, 5]
    pelvis[:, 0] += mark
    pelvis[:, 1] *= actor.hip_height
    up = _direction(lean)
    chest = pelvis + actor.torso * up
    head = chest + (actor.head * 0.97) * _direction(lean * 0.6 + nod)
    joints: Joints = {"pelvis": pelvis, "chest": chest, "head": head, "up": head - chest}
    for number, (name, side) in enumerate(SIDES):
        hand, foot = pose[:, 6 + 3 * number :][:, :3], pose[:, 12 + 3 * number :][:, :3]
        shoulder = chest - 0.035 * up + np.array([side * actor.shoulder, 0.0, 0.0])
        mirror = np.array([side, 1.0, 1.0])
        elbow, wrist = two_bones(
            shoulder,
            shoulder + hand * mirror * actor.arm,
            actor.upper_arm,
            actor.forearm,
            np.array([side * 0.8, -0.5, -0.6]),
        )
        hip = pelvis + np.array([side * actor.hip, 0.0, 0.0])
        sole = foot * mirror + np.array([0.0, ANKLE, 0.0])
        sole[:, 0] += mark
        knee, ankle = two_bones(
            hip, sole, actor.thigh, actor.shin, np.array([side * 0.25, 0.0, 1.0])
        )
        joints |= {
            f"{name}_shoulder": shoulder,
            f"{name}_elbow": elbow,
            f"{name}_hand": wrist,
            f"{name}_hip": hip,
            f"{name}_knee": knee,
            f"{name}_ankle": ankle,
            f"{name}_toe": ankle + np.array([side * 0.02, -0.012, 0.065]),
        }
    return joints


def two_bones(root: Array, target: Array, a: float, b: float, bend: Array) -> tuple[Array, Array]:
    """The middle and the end of two bones of lengths `a` and `b` from `root` towards `target`.

    `bend` (3,) is the side to which the middle joint gives way. A target out of reach is
    approached on the straight line to it.
    """
    line = target - root
    wanted = np.linalg.norm(line, axis=-1, keepdims=True)
    direction = line / np.maximum(wanted, 1e-9)
    reach = np.clip(wanted, abs(a - b) + 1e-4, (a + b) * 0.9995)
    along = (a * a - b * b + reach * reach) / (2 * reach)
    across = np.sqrt(np.maximum(a * a - along * along, 0.0))
    sideways = bend - (direction @ bend)[:, None] * direction
    sideways /= np.maximum(np.linalg.norm(sideways, axis=-1, keepdims=True), 1e-9)
    return root + direction * along + sideways * across, root + direction * reach


def _direction(angle: Array) -> Array:
    """Unit vectors leaning forward by `angle` (T,) radians."""
    return np.stack([np.zeros_like(angle), np.cos(angle), np.sin(angle)], axis=-1)
