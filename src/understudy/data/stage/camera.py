"""How it is filmed: framing, handheld sway, slow pan and zoom, tilt, exposure and sensor noise.

Points of the stage are in body heights, as in `skeleton`; screen points are in the pixels of a
frame drawn larger than the video (`Camera.oversample`) and reduced at the end, which smooths edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from understudy.data.stage.skeleton import Array

PITCH = 0.2
"""The camera looks down a little: what is nearer by 1 appears lower by this much."""

MARGIN = 0.2
"""How far a backdrop reaches beyond the frame on every side, as a share of the frame."""

_GRAIN_MARGIN = 32

SHAPES = ((1, 1), (5, 4), (4, 3), (4, 3))
RATES = (12, 15, 20, 24, 25, 30)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. Sizes in pixels of the video, positions in frame heights from the centre."""

    width: int
    height: int
    oversample: int
    fps: int
    unit: float  # a body height, in frame heights
    floor: float  # how far below the centre the floor is
    aim: tuple[float, float]
    pan: tuple[float, float]  # drift from first to last frame, halved
    sway: tuple[tuple[float, float, float], tuple[float, float, float]]  # amplitude, hertz, phase
    zoom: float
    zoom_drift: float
    tilt: float  # radians
    gain: float
    tint: tuple[float, float, float]
    noise: float  # standard deviation, in grey levels

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of a frame as it is drawn."""
        return self.width * self.oversample, self.height * self.oversample

    @property
    def backdrop(self) -> tuple[int, int]:
        """Width and height of the backdrop that `View.look` cuts frames from."""
        width, height = self.canvas
        return round(width * (1 + 2 * MARGIN)), round(height * (1 + 2 * MARGIN))


def draw_camera(rng: np.random.Generator, size: int) -> Camera:
    """Draw a camera whose shorter side is `size` pixels. Forwards and backwards are alike."""
    wide, high = SHAPES[rng.integers(len(SHAPES))]
    # yuv420p wants even sides.
    height = 2 * round(size / 2)
    width = 2 * round(size * wide / high / 2)
    sway = tuple(
        (rng.uniform(0.0, 0.012), rng.uniform(0.2, 0.9), rng.uniform(0, 2 * np.pi))
        for _ in range(2)
    )
    return Camera(
        width=width,
        height=height,
        oversample=2,
        fps=int(RATES[rng.integers(len(RATES))]),
        unit=rng.uniform(0.66, 0.82),
        floor=rng.uniform(0.38, 0.42),
        aim=(rng.uniform(-0.03, 0.03), rng.uniform(-0.015, 0.015)),
        pan=(rng.uniform(-0.03, 0.03), rng.uniform(-0.012, 0.012)),
        sway=(sway[0], sway[1]),
        zoom=rng.uniform(0.97, 1.07),
        zoom_drift=rng.uniform(-0.03, 0.03),
        tilt=np.deg2rad(rng.uniform(-3.5, 3.5)),
        gain=rng.uniform(0.88, 1.08),
        tint=tuple(rng.uniform(0.96, 1.04, size=3)),
        noise=rng.uniform(0.5, 2.5),
    )


class View:
    """A camera during one clip of T frames."""

    def __init__(self, camera: Camera, frames: int, rng: np.random.Generator) -> None:
        self.camera = camera
        field = (camera.height + _GRAIN_MARGIN, camera.width + _GRAIN_MARGIN, 1)
        self._grain = np.rint(rng.normal(0, camera.noise, size=field)).astype(np.int16)
        gains = np.multiply(camera.gain, camera.tint)
        self._curve = np.clip(np.arange(256) * gains[:, None], 0, 255).astype(int).ravel().tolist()
        height = camera.canvas[1]
        time = (np.arange(frames) + 0.5) / frames
        seconds = time * frames / camera.fps
        drift = 2 * time - 1
        aim = [
            camera.aim[i]
            + camera.pan[i] * drift
            + camera.sway[i][0]
            * np.sin(2 * np.pi * camera.sway[i][1] * seconds + camera.sway[i][2])
            for i in range(2)
        ]
        self.aim = np.stack(aim, axis=-1) * height
        self.zoom = camera.zoom * (1 + camera.zoom_drift * drift)
        cos, sin = np.cos(camera.tilt), np.sin(camera.tilt)
        self.rotation = np.array([[cos, -sin], [sin, cos]])
        self.unit = camera.unit * height * self.zoom
        """Pixels of a body height in each frame (T,)."""

    def project(self, points: Array, turn: float) -> tuple[Array, Array]:
        """Screen pixels (T, N, 2) and nearness (T, N) of `points` (T, N, 3) turned by `turn`."""
        flat, near = flatten(self.camera, points, turn)
        shown = (flat - self.aim[:, None]) @ self.rotation.T * self.zoom[:, None, None]
        return shown + np.array(self.camera.canvas) / 2, near

    def look(self, backdrop: Image.Image, frame: int) -> Image.Image:
        """The part of the backdrop that this frame sees."""
        inverse = self.rotation.T / self.zoom[frame]
        middle = np.array(self.camera.canvas) / 2
        offset = self.aim[frame] + np.array(backdrop.size) / 2 - inverse @ middle
        (a, b), (d, e) = inverse
        return backdrop.transform(
            self.camera.canvas,
            Image.Transform.AFFINE,
            (a, b, offset[0], d, e, offset[1]),
            Image.Resampling.NEAREST,
        )

    def expose(self, drawing: Image.Image, rng: np.random.Generator) -> Array:
        """The finished frame (H, W, 3) uint8: reduced, exposed, with noise."""
        camera = self.camera
        exposed = drawing.reduce(camera.oversample).point(self._curve)
        # Each frame sees another part of one field of grain, which is much faster than new grain.
        x, y = rng.integers(_GRAIN_MARGIN, size=2)
        grain = self._grain[y : y + camera.height, x : x + camera.width]
        return np.clip(np.asarray(exposed) + grain, 0, 255).astype(np.uint8)


def flatten(camera: Camera, points: Array, turn: float) -> tuple[Array, Array]:
    """Where points (..., 3) are on the backdrop (..., 2), from its centre, and how near (...)."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    cos, sin = np.cos(turn), np.sin(turn)
    near = z * cos - x * sin
    height = camera.canvas[1]
    across = (x * cos + z * sin) * camera.unit * height
    down = (camera.floor - (y - PITCH * near) * camera.unit) * height
    return np.stack([across, down], axis=-1), near
