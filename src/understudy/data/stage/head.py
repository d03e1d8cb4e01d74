"""Heads: hair, face, glasses, beard."""

from __future__ import annotations

import math

from PIL import ImageDraw

from understudy.data.stage.actors import Actor, Colour, shade

Point = tuple[float, float]
INK: Colour = (38, 30, 36)


def paint_head(
    draw: ImageDraw.ImageDraw,
    at: dict[str, Point],
    top: Point,
    actor: Actor,
    unit: float,
    turn: float,
) -> None:
    """Draw a head that looks `turn` radians to the viewer's right; `top` is its crown."""
    centre = at["head"]
    radius = actor.head * unit
    length = math.dist(centre, top) or 1.0
    up = ((top[0] - centre[0]) / length, (top[1] - centre[1]) / length)
    right = (-up[1], up[0])
    look = math.sin(turn)

    def spot(across: float, above: float) -> Point:
        """A place on the head, in radii."""
        return (
            centre[0] + radius * (across * right[0] + above * up[0]),
            centre[1] + radius * (across * right[1] + above * up[1]),
        )

    def dot(across: float, above: float, size: float, fill: Colour) -> None:
        x, y = spot(across, above)
        r = size * radius
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    style, hair = actor.hair_style, actor.hair
    if style == "afro":
        dot(-0.15 * look, 0.18, 1.3, hair)
    elif style == "long":
        dot(-0.2 * look, 0.1, 1.08, hair)
        draw.polygon(
            [
                spot(a - 0.35 * look, b)
                for a, b in ((-1.02, 0), (1.02, 0), (0.9, -1.5), (-0.9, -1.5))
            ],
            fill=hair,
        )
    elif style == "bun":
        dot(-0.75 * look, 1.0, 0.46, hair)
        dot(-0.2 * look, 0.12, 1.04, hair)
    elif style in ("short", "fringe"):
        dot(-0.18 * look, 0.12, 1.05, hair)
    dot(0.0, 0.0, 0.97, actor.skin)
    if style != "bald":
        # Hair over the top of the face, reaching lower at the back of a turned head.
        line = 0.3 if style == "fringe" else 0.5
        arc = [
            (1.0 * math.cos(a), 1.0 * math.sin(a)) for a in [math.pi * i / 12 for i in range(13)]
        ]
        cut = [(x, max(y, line + 0.25 * look * x)) for x, y in arc]
        draw.polygon([spot(*p) for p in cut] + [spot(0, line)], fill=hair)
        if abs(look) > 0.3:
            sign = -1 if look > 0 else 1
            back = [(sign * math.cos(a), math.sin(a)) for a in [i * 0.2 - 0.9 for i in range(10)]]
            draw.polygon(
                [spot(*p) for p in back] + [spot(sign * (0.95 - 0.75 * abs(look)), 0.5)], fill=hair
            )
    if actor.beard:
        jaw = [
            (0.98 * math.cos(a), 0.98 * math.sin(a))
            for a in [math.pi * (1.1 + i / 15) for i in range(13)]
        ]
        draw.polygon([spot(*p) for p in jaw], fill=shade(hair, 0.85))
        draw.polygon(
            [
                spot(x + 0.3 * look, y)
                for x, y in ((-0.5, -0.2), (0.5, -0.2), (0.4, -0.4), (-0.4, -0.4))
            ],
            fill=actor.skin,
        )
    for offset in (-0.45, 0.45):
        angle = turn + offset
        if math.cos(angle) > 0.1:
            across = 0.9 * math.sin(angle)
            dot(across, -0.02, 0.15, INK)
            if actor.glasses:
                x, y = spot(across, -0.02)
                r = 0.3 * radius
                draw.ellipse(
                    (x - r, y - r, x + r, y + r), outline=INK, width=max(1, round(r * 0.3))
                )
    dot(0.98 * math.sin(turn), -0.25, 0.12, shade(actor.skin, 0.86))
    mouth = [
        spot(0.9 * math.sin(turn + a), -0.52 - 0.1 * math.cos(3.5 * a))
        for a in (-0.4, -0.2, 0, 0.2, 0.4)
    ]
    draw.line(mouth, fill=shade(actor.skin, 0.5), width=max(1, round(radius * 0.13)), joint="curve")
