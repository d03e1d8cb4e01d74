"""Who plays: a body and the clothes on it, drawn once per actor and kept in all of their clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SKIN = ("#ffe0c8", "#f7c9a3", "#e8ae82", "#d1926a", "#b0744d", "#9a6240", "#7a4d30")
HAIR = ("#1f1a1c", "#3b2a24", "#6b4128", "#a0622d", "#d9a441", "#b5482a", "#8d8a91", "#4a3b6b")
SHIRT = (
    "#d7263d", "#1b7f79", "#2e5eaa", "#f46036", "#6a4c93", "#1b998b", "#c2185b", "#e0a100",
    "#33658a", "#3a7d44", "#ef476f", "#0b6e99", "#7b2d8b", "#b23a48",
)  # fmt: skip
TROUSERS = ("#26334d", "#3d405b", "#5b3a29", "#2f4858", "#4a4e69", "#1d3557", "#5c4742", "#33413a")
ACCENT = ("#fff4e0", "#ffd166", "#f1faee", "#06d6a0", "#f7b2bd", "#a8dadc")
SHOES = ("#2b2b2b", "#f5f5f5", "#8c2f39", "#5a3d2b", "#e4572e", "#264653")

HAIR_STYLES = ("short", "long", "bun", "afro", "bald", "fringe")
PATTERNS = ("plain", "stripes", "band", "dots", "jacket")


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor. Lengths are in standing heights of an average body, so about 1 from toe to top."""

    name: str
    head: float  # radius
    torso: float  # pelvis to base of the neck
    thigh: float
    shin: float
    upper_arm: float
    forearm: float
    shoulder: float  # half the width
    hip: float  # half the width
    limb: float  # radius of an upper arm
    girth: float  # radius of the trunk
    skin: Colour
    hair: Colour
    shirt: Colour
    accent: Colour
    trousers: Colour
    shoes: Colour
    hair_style: str
    pattern: str
    long_sleeves: bool
    legs: str  # trousers | shorts | skirt
    glasses: bool
    beard: bool

    @property
    def hip_height(self) -> float:
        """Height of the pelvis when standing, knees hardly bent."""
        return self.thigh + self.shin + ANKLE - 0.003

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm


ANKLE = 0.035
"""Height of an ankle above the floor."""


def cast_actor(name: str, rng: np.random.Generator) -> Actor:
    """Draw a body and its clothes."""
    height = rng.uniform(0.9, 1.06)
    legs_share = rng.uniform(0.43, 0.48)
    build = rng.uniform(-1.0, 1.0)  # slim to stout
    head = rng.uniform(0.092, 0.108)
    leg = height * legs_share
    torso = height - leg - 2 * head - ANKLE
    arm = height * rng.uniform(0.30, 0.335)
    shoulder = rng.uniform(0.095, 0.12) + 0.012 * build
    skin, hair = pick(SKIN, rng), pick(HAIR, rng)
    while abs(sum(skin) - sum(hair)) < 150:
        hair = pick(HAIR, rng)
    style = HAIR_STYLES[rng.integers(len(HAIR_STYLES))]
    return Actor(
        name=name,
        head=head,
        torso=torso,
        thigh=leg * 0.5,
        shin=leg * 0.5,
        upper_arm=arm * 0.52,
        forearm=arm * 0.48,
        shoulder=shoulder,
        hip=rng.uniform(0.05, 0.065) + 0.01 * build,
        limb=0.033 + 0.006 * build,
        girth=0.068 + 0.018 * build,
        skin=skin,
        hair=hair,
        shirt=pick(SHIRT, rng),
        accent=pick(ACCENT, rng),
        trousers=pick(TROUSERS, rng),
        shoes=pick(SHOES, rng),
        hair_style=style,
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        long_sleeves=bool(rng.random() < 0.5),
        legs=("trousers", "trousers", "shorts", "skirt")[rng.integers(4)],
        glasses=bool(rng.random() < 0.25),
        beard=bool(style in ("short", "bald") and sum(hair) < sum(skin) and rng.random() < 0.5),
    )


def pick(palette: tuple[str, ...], rng: np.random.Generator) -> Colour:
    """One colour of a palette, a little off, so that no two are quite alike."""
    value = palette[rng.integers(len(palette))]
    shift = rng.integers(-10, 11, size=3)
    red, green, blue = (
        int(np.clip(int(value[i : i + 2], 16) + d, 0, 255))
        for i, d in zip((1, 3, 5), shift, strict=True)
    )
    return (red, green, blue)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above it."""
    red, green, blue = (min(255, round(c * factor)) for c in colour)
    return (red, green, blue)
