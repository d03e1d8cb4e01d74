"""Where it is filmed: rooms, parks, streets and stages, painted once per clip.

Walls and skies are pale and clothes are not, so that the actor stands out. Furniture and props
stand about in any place, whatever is played there.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from understudy.data.stage.actors import ACCENT, SHIRT, Colour, pick, shade
from understudy.data.stage.camera import Camera, flatten
from understudy.data.stage.paint import disc, paint_prop, paint_shadow, prop_points

Draw = ImageDraw.ImageDraw

WALLS = ("#f3e9dc", "#dfe9e5", "#e8e1ef", "#fbe3d6", "#d7e7f2", "#f6edc9", "#e3e8d3", "#f4dfe3")
FLOORS = ("#c9a27e", "#b58863", "#d9c3a5", "#a9a19a", "#c4b7cb", "#9fb3a9", "#d3b088", "#b9aaa0")
SKIES = ("#bfe3f5", "#d7eefb", "#fde4c8", "#cfe0f7", "#f9d8d6")
GRASS = ("#a8cf8a", "#93c47d", "#b9d78f", "#c7d59f")
LEAVES = ("#4f8a5b", "#6aa36f", "#3d7259", "#87a96b", "#c98a4b")
HOUSES = ("#e6c9a8", "#d9b7a6", "#c8d3d9", "#e9dcc3", "#cbbfae", "#e2b9ae")
CURTAINS = ("#e9c7c3", "#cfd6ea", "#d9cfe6", "#cfe3d8")
PLACES = ("room", "room", "park", "street", "stage")


def paint_place(camera: Camera, rng: np.random.Generator) -> Image.Image:
    """A backdrop of `camera.backdrop` pixels."""
    width, height = camera.backdrop
    floor = height / 2 + camera.floor * camera.canvas[1]
    horizon = floor - rng.uniform(0.05, 0.16) * camera.canvas[1]
    place = PLACES[rng.integers(len(PLACES))]
    wall, ground = {
        "room": (WALLS, FLOORS),
        "park": (SKIES, GRASS),
        "street": (SKIES, FLOORS),
        "stage": (CURTAINS, FLOORS),
    }[place]
    floor_colour = pick(ground, rng)
    image = Image.new("RGB", (width, height), floor_colour)
    image.paste(_gradient(width, int(horizon), pick(wall, rng), rng), (0, 0))
    draw = ImageDraw.Draw(image)
    unit = camera.unit * camera.canvas[1]
    {"room": _room, "park": _park, "street": _street, "stage": _stage}[place](
        draw, width, height, horizon, unit, floor_colour, rng
    )
    _props(image, draw, camera, rng)
    return _texture(image, rng)


def _gradient(width: int, height: int, colour: Colour, rng: np.random.Generator) -> Image.Image:
    ramp = Image.linear_gradient("L").rotate(int(rng.integers(4)) * 90)
    coloured = ImageOps.colorize(ramp, shade(colour, 1.03), shade(colour, rng.uniform(0.84, 0.97)))
    return coloured.resize((width, height))


def _texture(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blotches of light, coarse and fine."""
    size = (image.width // 4 + 1, image.height // 4 + 1)
    coarse = rng.normal(128, 14, size=(size[1] // 10 + 2, size[0] // 10 + 2))
    grown = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    blotches = np.asarray(grown, dtype=np.float32) + rng.normal(0, 6, size=size[::-1])
    light = np.asarray(
        Image.fromarray(blotches.clip(0, 255).astype(np.uint8)).resize(image.size), dtype=np.int16
    )
    pixels = np.asarray(image) + (light[..., None] - 128) // 3
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _room(
    draw: Draw,
    width: int,
    height: int,
    horizon: float,
    unit: float,
    ground: Colour,
    rng: np.random.Generator,
) -> None:
    tone = pick(WALLS, rng)
    paper = rng.integers(4)
    step = unit * rng.uniform(0.1, 0.2)
    if paper == 0:
        for i in range(int(width / step) + 1):
            draw.rectangle((i * step, 0, i * step + step * 0.4, horizon), fill=tone)
    elif paper == 1:
        for i in range(int(width / step) + 1):
            for j in range(int(horizon / step) + 1):
                disc(draw, (i * step + (j % 2) * step / 2, j * step), step * 0.12, tone)
    elif paper == 2:
        draw.rectangle((0, horizon - unit * 0.3, width, horizon), fill=tone)
    plank = unit * rng.uniform(0.08, 0.14)
    seam = shade(ground, 0.9)
    if rng.random() < 0.6:
        for i in range(int((height - horizon) / plank) + 1):
            y = horizon + i * plank
            draw.line((0, y, width, y), fill=seam, width=max(1, round(unit * 0.008)))
    draw.rectangle((0, horizon - unit * 0.03, width, horizon), fill=(250, 247, 240))
    for slot in _slots(width, unit, rng):
        if rng.random() < 0.4:
            _window(draw, slot, unit, rng)
        else:
            _picture(draw, slot, unit, rng)
    for _ in range(rng.integers(0, 3)):
        _plant(draw, _aside(width, unit, rng), horizon + unit * 0.06, unit, rng)


def _window(draw: Draw, x: float, unit: float, rng: np.random.Generator) -> None:
    w, h, y = unit * rng.uniform(0.15, 0.22), unit * rng.uniform(0.2, 0.3), unit * 0.32
    draw.rectangle((x - w - unit * 0.02, y, x + w + unit * 0.02, y + 2 * h), fill=(252, 250, 245))
    draw.rectangle((x - w, y + unit * 0.02, x + w, y + 2 * h - unit * 0.02), fill=pick(SKIES, rng))
    disc(draw, (x, y + 2 * h - unit * 0.09), unit * 0.07, pick(LEAVES, rng))
    bar = unit * 0.01
    draw.rectangle((x - bar, y, x + bar, y + 2 * h), fill=(252, 250, 245))
    draw.rectangle((x - w, y + h - bar, x + w, y + h + bar), fill=(252, 250, 245))


def _picture(draw: Draw, x: float, unit: float, rng: np.random.Generator) -> None:
    w, h, y = unit * rng.uniform(0.06, 0.13), unit * rng.uniform(0.07, 0.13), unit * 0.5
    rim = unit * 0.015
    draw.rectangle((x - w - rim, y - h - rim, x + w + rim, y + h + rim), fill=(120, 92, 74))
    draw.rectangle((x - w, y - h, x + w, y + h), fill=pick(ACCENT, rng))
    disc(draw, (x - w * 0.2, y + h * 0.1), min(w, h) * 0.5, pick(SHIRT, rng))


def _plant(
    draw: Draw, x: float, y: float, unit: float, rng: np.random.Generator, pot: bool = True
) -> None:
    leaf, size = pick(LEAVES, rng), unit * rng.uniform(0.05, 0.08)
    for angle in np.linspace(-0.9, 0.9, 5):
        tip = (x + np.sin(angle) * size * 3, y - size * 1.4 - np.cos(angle) * size * 3)
        draw.line([(x, y - size), tip], fill=leaf, width=max(1, round(size * 0.5)))
        disc(draw, tip, size * 0.6, leaf)
    if pot:
        draw.polygon(
            [
                (x - size, y - size * 1.5),
                (x + size, y - size * 1.5),
                (x + size * 0.7, y),
                (x - size * 0.7, y),
            ],
            fill=pick(HOUSES, rng),
        )


def _park(
    draw: Draw,
    width: int,
    height: int,
    horizon: float,
    unit: float,
    ground: Colour,
    rng: np.random.Generator,
) -> None:
    disc(draw, (rng.uniform(0, width), unit * rng.uniform(0.25, 0.4)), unit * 0.09, (255, 246, 205))
    for _ in range(rng.integers(1, 4)):
        x, y, size = rng.uniform(0, width), unit * rng.uniform(0.25, 0.6), unit * 0.06
        for dx, r in ((-1.2, 0.8), (0, 1.1), (1.2, 0.7)):
            disc(draw, (x + dx * size, y), size * r, (253, 253, 253))
    hill = shade(pick(GRASS, rng), 1.1)
    for _ in range(2):
        x, r = rng.uniform(0, width), unit * rng.uniform(0.5, 0.9)
        draw.ellipse((x - r * 1.6, horizon - r * 0.35, x + r * 1.6, horizon + r * 0.35), fill=hill)
    draw.rectangle((0, horizon, width, height), fill=ground)
    for _ in range(rng.integers(1, 4)):
        x, tall = _aside(width, unit, rng), unit * rng.uniform(0.35, 0.6)
        leaf = shade(pick(LEAVES, rng), 1.25)
        draw.rectangle(
            (x - unit * 0.025, horizon - tall, x + unit * 0.025, horizon), fill=(146, 112, 86)
        )
        for dx, dy, r in ((-0.1, 0, 0.12), (0.1, 0.02, 0.12), (0, -0.12, 0.14)):
            disc(draw, (x + dx * unit, horizon - tall + dy * unit), r * unit, leaf)
    for _ in range(8):
        x, y = rng.uniform(0, width), rng.uniform(horizon, height)
        disc(draw, (x, y), unit * 0.01, pick(ACCENT, rng))


def _street(
    draw: Draw,
    width: int,
    height: int,
    horizon: float,
    unit: float,
    ground: Colour,
    rng: np.random.Generator,
) -> None:
    x = -rng.uniform(0, 0.2) * unit
    while x < width:
        w, tall = unit * rng.uniform(0.3, 0.5), unit * rng.uniform(0.5, 1.0)
        wall = shade(pick(HOUSES, rng), 1.06)
        draw.rectangle((x, horizon - tall, x + w, horizon), fill=wall)
        pane = shade(wall, 0.86) if rng.random() < 0.5 else (252, 243, 214)
        for i in range(3):
            for j in range(int(tall / (0.17 * unit))):
                px, py = x + w * (0.2 + 0.27 * i), horizon - tall + unit * (0.06 + 0.17 * j)
                draw.rectangle((px, py, px + w * 0.14, py + unit * 0.09), fill=pane)
        x += w + unit * rng.uniform(0.0, 0.06)
    draw.rectangle((0, horizon, width, horizon + unit * 0.025), fill=(236, 232, 226))
    if rng.random() < 0.5:
        _plant(draw, _aside(width, unit, rng), horizon + unit * 0.08, unit, rng)


def _stage(
    draw: Draw,
    width: int,
    height: int,
    horizon: float,
    unit: float,
    ground: Colour,
    rng: np.random.Generator,
) -> None:
    fold = unit * rng.uniform(0.07, 0.12)
    colour = pick(CURTAINS, rng)
    for i in range(int(width / fold) + 1):
        draw.rectangle((i * fold, 0, i * fold + fold / 2, horizon), fill=colour)
    for i in range(int(width / (2 * fold)) + 1):
        disc(draw, (i * 2 * fold, unit * 0.22), fold * 1.15, shade(colour, 0.88))
    x, r = width / 2, unit * rng.uniform(0.4, 0.6)
    y = (horizon + height) / 2 - unit * 0.05
    draw.ellipse((x - r, y - r * 0.3, x + r, y + r * 0.3), fill=(250, 240, 214))


def _props(image: Image.Image, draw: Draw, camera: Camera, rng: np.random.Generator) -> None:
    """Props that nobody uses, so that seeing one tells little about the action."""
    middle = np.array(image.size) / 2
    unit = camera.unit * camera.canvas[1]
    for prop, height in (("chair", 0.22), ("box", 0.085), ("hat", 0.02)):
        colour, turn = pick(SHIRT, rng), rng.uniform(-1.0, 1.0)
        place = [rng.choice((-1, 1)) * rng.uniform(0.42, 0.75), 0.0, rng.uniform(-0.35, -0.15)]
        if rng.random() > 0.3:
            continue
        at, _ = flatten(camera, np.array(place), 0.0)
        points, _ = flatten(camera, np.add(prop_points(prop), (0.0, height, 0.0)), turn)
        paint_shadow(image, tuple(at + middle), unit * 0.15)
        paint_prop(
            draw, prop, (points + at - _origin(camera) + middle).tolist(), turn, colour, unit
        )


def _origin(camera: Camera) -> np.ndarray:
    return flatten(camera, np.zeros(3), 0.0)[0]


def _slots(width: int, unit: float, rng: np.random.Generator) -> list[float]:
    """Places along a wall, far enough apart."""
    step = unit * 0.5
    start = rng.uniform(0, step)
    places = [start + i * step for i in range(int(width / step) + 1)]
    return [x for x in places if rng.random() < 0.6]


def _aside(width: int, unit: float, rng: np.random.Generator) -> float:
    """A place to the left or right of the actor."""
    return width / 2 + rng.choice((-1, 1)) * unit * rng.uniform(0.35, 0.7)
