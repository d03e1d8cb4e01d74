"""How a frame is drawn: flat shapes over a backdrop, the nearer ones later."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from understudy.data.stage.actions import BOX, Performance
from understudy.data.stage.actors import Actor, Colour, shade
from understudy.data.stage.camera import View
from understudy.data.stage.head import paint_head
from understudy.data.stage.skeleton import Array

Point = tuple[float, float]
Draw = ImageDraw.ImageDraw

SHADOW = (30, 25, 40, 60)


def paint_clip(
    actor: Actor,
    performance: Performance,
    view: View,
    backdrop: Image.Image,
    prop_colour: Colour,
    rng: np.random.Generator,
) -> list[Array]:
    """All frames of a clip, each (H, W, 3) uint8."""
    joints, turn = performance.joints, performance.turn
    names = [name for name in joints if name != "up"]
    points = [joints[name] for name in names] + [joints["head"] + joints["up"]]
    screen, nearness = view.project(np.stack(points, axis=1), turn)
    shadow, _ = view.project((joints["pelvis"] * [1.0, 0.0, 1.0])[:, None], turn)
    prop = None
    if performance.prop is not None:
        shape = prop_points(performance.prop)
        prop = view.project(performance.place[:, None] + shape, turn)
    frames = []
    for number in range(len(screen)):
        drawing = view.look(backdrop, number)
        unit = float(view.unit[number])
        paint_shadow(drawing, shadow[number, 0].tolist(), unit * 0.2)
        draw = ImageDraw.Draw(drawing)
        at: dict[str, Point] = dict(zip(names, map(tuple, screen[number].tolist()), strict=False))
        near = dict(zip(names, nearness[number].tolist(), strict=False))
        top: Point = tuple(screen[number, -1].tolist())
        parts = [
            (near["pelvis"] * 0.5 + near["chest"] * 0.5, _torso(draw, at, actor, unit)),
            (near["head"], lambda a=at, t=top, d=draw, u=unit: paint_head(d, a, t, actor, u, turn)),
        ]
        for side in ("left", "right"):
            leg = near[f"{side}_knee"] * 0.6 + near[f"{side}_ankle"] * 0.4 - 0.05
            arm = near[f"{side}_elbow"] * 0.4 + near[f"{side}_hand"] * 0.6 + 0.005
            parts.append((leg, _leg(draw, at, actor, unit, side, dim=leg < near["pelvis"] - 0.07)))
            parts.append((arm, _arm(draw, at, actor, unit, side, dim=arm < near["chest"] - 0.03)))
        if prop is not None:
            corners = prop[0][number].tolist()
            depth = {"chair": -9.0, "hat": 9.0}.get(
                str(performance.prop), float(prop[1][number].mean())
            )
            parts.append(
                (depth, _prop(draw, str(performance.prop), corners, turn, prop_colour, unit))
            )
        for _, paint in sorted(parts, key=lambda part: part[0]):
            paint()
        frames.append(view.expose(drawing, rng))
    return frames


def disc(draw: Draw, centre: Point, radius: float, fill: Colour) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def limb(draw: Draw, a: Point, b: Point, ra: float, rb: float, fill: Colour) -> None:
    """A limb that tapers from radius `ra` at `a` to `rb` at `b`, round at both ends."""
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    if length > 0.5:
        across, along = -(b[1] - a[1]) / length, (b[0] - a[0]) / length
        draw.polygon(
            [
                (a[0] + across * ra, a[1] + along * ra),
                (b[0] + across * rb, b[1] + along * rb),
                (b[0] - across * rb, b[1] - along * rb),
                (a[0] - across * ra, a[1] - along * ra),
            ],
            fill=fill,
        )
    disc(draw, a, ra, fill)
    disc(draw, b, rb, fill)


def mix(a: Point, b: Point, share: float) -> Point:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)


def paint_shadow(drawing: Image.Image, centre: Point, radius: float) -> None:
    x, y = centre
    ImageDraw.Draw(drawing, "RGBA").ellipse(
        (x - radius, y - radius * 0.28, x + radius, y + radius * 0.28), fill=SHADOW
    )


def _leg(
    draw: Draw, at: dict[str, Point], actor: Actor, unit: float, side: str, dim: bool
) -> Callable[[], None]:
    tone = 0.84 if dim else 1.0
    cloth, skin = shade(actor.trousers, tone), shade(actor.skin, tone)
    thigh = skin if actor.legs == "skirt" else cloth
    shin = cloth if actor.legs == "trousers" else skin
    width = actor.limb * unit

    def paint() -> None:
        hip, knee, ankle = (at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        limb(draw, knee, ankle, width * 1.12, width * 0.85, shin)
        limb(draw, hip, knee, width * 1.42, width * 1.15, thigh)
        if actor.legs == "skirt":
            limb(draw, hip, mix(hip, knee, 0.7), width * 1.6, width * 2.1, cloth)
        limb(draw, ankle, at[f"{side}_toe"], width * 0.95, width * 0.75, shade(actor.shoes, tone))

    return paint


def _arm(
    draw: Draw, at: dict[str, Point], actor: Actor, unit: float, side: str, dim: bool
) -> Callable[[], None]:
    tone = 0.8 if dim else 0.92
    sleeve, skin = shade(actor.shirt, tone), shade(actor.skin, min(1.0, tone + 0.08))
    width = actor.limb * unit

    def paint() -> None:
        shoulder, elbow, hand = (at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "hand"))
        if actor.long_sleeves:
            limb(draw, elbow, hand, width, width * 0.82, sleeve)
        else:
            limb(draw, elbow, hand, width * 0.88, width * 0.75, skin)
        limb(draw, shoulder, elbow, width * 1.15, width, sleeve)
        disc(draw, hand, width * 1.08, skin)

    return paint


def _torso(draw: Draw, at: dict[str, Point], actor: Actor, unit: float) -> Callable[[], None]:
    def paint() -> None:
        left, right = at["left_shoulder"], at["right_shoulder"]
        hips = at["left_hip"], at["right_hip"]
        girth, width = actor.girth * unit, actor.limb * unit
        chest, pelvis = at["chest"], at["pelvis"]
        limb(draw, chest, mix(chest, at["head"], 0.6), width * 1.1, width, shade(actor.skin, 0.9))
        limb(draw, hips[0], hips[1], girth * 0.92, girth * 0.92, actor.trousers)
        limb(draw, left, right, width * 1.15, width * 1.15, actor.shirt)
        breast, waist = mix(chest, pelvis, 0.32), mix(chest, pelvis, 0.86)
        limb(draw, breast, waist, girth * 1.04, girth * 0.98, actor.shirt)
        belt = mix(left, hips[0], 0.85), mix(right, hips[1], 0.85)
        draw.polygon([left, right, belt[1], belt[0]], fill=actor.shirt)
        _pattern(draw, actor, unit, (left, right, *belt), chest, pelvis)

    return paint


def _pattern(
    draw: Draw, actor: Actor, unit: float, corners: tuple[Point, ...], chest: Point, pelvis: Point
) -> None:
    left, right, low_left, low_right = corners
    girth = actor.girth * unit
    across = (pelvis[1] - chest[1], chest[0] - pelvis[0])
    length = math.hypot(*across) or 1.0
    side = (across[0] / length, across[1] / length)

    def rib(share: float, width: float, reach: float = 1.0) -> None:
        """A band around the trunk."""
        middle = mix(chest, pelvis, share)
        half = max(girth, math.dist(mix(left, low_left, share), mix(right, low_right, share)) / 2)
        half *= reach
        ends = [(middle[0] + s * half * side[0], middle[1] + s * half * side[1]) for s in (-1, 1)]
        draw.line(ends, fill=actor.accent, width=max(1, round(unit * width)))

    if actor.pattern == "stripes":
        for share in (0.28, 0.5, 0.72):
            rib(share, 0.028)
    elif actor.pattern == "band":
        rib(0.42, 0.075)
    elif actor.pattern == "dots":
        for share, offset in ((0.25, -0.5), (0.25, 0.5), (0.5, 0.0), (0.75, -0.5), (0.75, 0.5)):
            x, y = mix(chest, pelvis, share)
            move = offset * girth
            disc(draw, (x + side[0] * move, y + side[1] * move), unit * 0.016, actor.accent)
    elif actor.pattern == "jacket":
        limb(
            draw, mix(chest, pelvis, 0.12), mix(chest, pelvis, 0.85), unit * 0.022, unit * 0.022,
            actor.accent,
        )  # fmt: skip


CHAIR = {"seat": (0.14, 0.018, 0.13), "back": (0.14, 0.13, 0.016)}


def prop_points(prop: str) -> Array:
    """The points (N, 3) that a prop is drawn from, around its place; a hat needs none but that."""
    if prop == "box":
        return _cuboid(BOX)
    if prop == "chair":
        seat, back = (_cuboid(np.array(CHAIR[part])) for part in ("seat", "back"))
        seat = np.subtract(seat, (0.0, CHAIR["seat"][1], 0.02))
        back = np.add(back, (0.0, 0.2, -0.14))
        posts = np.array([(x, y, z) for x in (-0.12, 0.12) for y in (-0.02, 0.2) for z in (-0.14,)])
        legs = np.array(
            [(x, y, z) for x in (-0.12, 0.12) for z in (-0.13, 0.09) for y in (0, -0.215)]
        )
        return np.concatenate([seat, back, posts, legs])
    return np.zeros((1, 3))


def _cuboid(half: Array) -> Array:
    signs = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    return np.array(signs) * half


def paint_prop(
    draw: Draw, prop: str, points: list[list[float]], turn: float, colour: Colour, unit: float
) -> None:
    """Draw a prop from its projected points."""
    corners: list[Point] = [(x, y) for x, y in points]
    if prop == "hat":
        x, y = corners[0]
        brim, crown = unit * 0.15, unit * 0.092
        draw.ellipse((x - brim, y - brim * 0.16, x + brim, y + brim * 0.3), fill=shade(colour, 0.8))
        draw.rounded_rectangle(
            (x - crown, y - crown * 1.25, x + crown, y + crown * 0.25), crown * 0.45, fill=colour
        )
        draw.rectangle(
            (x - crown, y - crown * 0.3, x + crown, y + crown * 0.12), fill=(250, 240, 220)
        )
    elif prop == "box":
        _paint_cuboid(draw, corners, turn, colour)
        low, high = mix(corners[1], corners[5], 0.5), mix(corners[3], corners[7], 0.5)
        width = max(1, round(unit * 0.03))
        draw.line([low, high, mix(corners[2], corners[6], 0.5)], fill=(250, 240, 220), width=width)
    else:
        width = max(1, round(unit * 0.028))
        for a, b in zip(corners[18::2], corners[19::2], strict=True):
            draw.line([a, b], fill=shade(colour, 0.65), width=width)
        for a, b in (corners[16:18], corners[18:20]):
            draw.line([a, b], fill=shade(colour, 0.65), width=width)
        _paint_cuboid(draw, corners[8:16], turn, colour)
        _paint_cuboid(draw, corners[:8], turn, colour)


def _prop(
    draw: Draw, prop: str, points: list[list[float]], turn: float, colour: Colour, unit: float
) -> Callable[[], None]:
    return lambda: paint_prop(draw, prop, points, turn, colour, unit)


def _paint_cuboid(draw: Draw, c: list[Point], turn: float, colour: Colour) -> None:
    """The three faces of a cuboid that a camera looking down sees; corners in `_cuboid` order."""
    side = (4, 5, 7, 6) if turn < 0 else (0, 1, 3, 2)
    for face, tone in ((side, 0.78), ((1, 3, 7, 5), 1.0), ((2, 3, 7, 6), 1.18)):
        draw.polygon([c[i] for i in face], fill=shade(colour, tone))
