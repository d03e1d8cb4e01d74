"""rvit-image: the recurrent vision transformer turned image-first, to learn from stills.

It is `rvit` (Yang et al., CVPR 2022; see rvit.py for the layers) with four changes:

- 3-D convolution patches. A step sees a window, the latest `window_frames` frames, and cuts it into
  patches of `patch_frames` x P x P; the hidden map has a token for each. Before a clip has so many
  frames, its first one stands in for those that are missing, so a still is what it is in a video
  where nothing moves, and one frame is a clip like any other.
- Learned positions on a grid of time slots x height x width, resized trilinearly to any other.
- No class or sequence token: the tokens x of the last layer and the hidden tokens of every layer
  are averaged over the map, and these L + 1 averages go to the classifier.
- Recurrent dropout (Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in
  Recurrent Neural Networks", NIPS 2016): what the gate reads of h loses channels by one mask per
  clip and layer, the same at every frame and token.

Positions are added before the first layer alone, as in a ViT: while h is silent and attention is
softmax, a frame passes the layers as it passes those of a ViT.

Patches do not overlap within a window, but the window moves on by one frame at a time: that makes
stepping and reading a whole clip the same thing. Time is folded into channels throughout, so that
no tensor of the state has more than 4 dimensions; the patches are a 2-D convolution over them,
equal to the 3-D one.

Shape letters beside those of `understudy.types`: P patch side, D token width, L layers,
R = 3 * (window_frames - 1) channels of recent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.models.recurrent import FrameBackbone, RecurrentRecognizer
from understudy.models.rvit import (
    Attention,
    RecurrentEncoder,
    create_encoder,
    pad_to_patches,
    patch_grid,
    resize_positions,
)
from understudy.types import State


class RViTImageBackbone(FrameBackbone):
    """Windows of normalised frames, time folded into channels: (B, 3 * window_frames, H, W)."""

    def __init__(
        self,
        encoder: RecurrentEncoder,
        dim: int,
        patch: tuple[int, int],
        slots: int,
        position_grid: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.patch_frames, self.patch_size = patch
        self.slots, self.dim, self.layers = slots, dim, len(encoder.blocks)
        self.summary_dim = (1 + self.layers) * dim
        # Input channels: red, green and blue of a patch's first frame, then of its second, ...
        self.patches = nn.Conv2d(3 * self.patch_frames, dim, self.patch_size, self.patch_size)
        self.positions = nn.Parameter(torch.empty(1, dim, *position_grid))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.encoder = encoder

    def tokens(self, size: tuple[int, int]) -> int:
        height, width = patch_grid(size, self.patch_size)
        return self.slots * height * width

    def begin(self, batch: int, size: tuple[int, int]) -> State:
        shape = (batch, self.tokens(size), self.dim)
        return tuple(self.positions.new_zeros(shape) for _ in range(self.layers))

    def forward(
        self, pixels: Tensor, hidden: State, masks: State | None = None
    ) -> tuple[Tensor, State]:
        pixels = pad_to_patches(pixels, self.patch_size)
        maps = [self.patches(slot) for slot in pixels.chunk(self.slots, dim=1)]
        grid = (self.slots, *maps[0].shape[-2:])
        positions = resize_positions(self.positions, grid).flatten(2).mT
        x = torch.cat([one.flatten(2) for one in maps], dim=2).mT
        x, hidden = self.encoder(x, hidden, positions, masks)
        return torch.cat([one.mean(1) for one in (x, *hidden)], dim=-1), hidden


class RViTImage(RecurrentRecognizer):
    """Learns from single pictures (T = 1) and from clips alike.

    window_frames: frames that a step sees, a multiple of patch_frames. position_frames: time slots
    of the learned positions, by default those of the window; to train on one window and watch with
    another, give the slots of the first to both. recurrent_dropout: share of channels of h that a
    clip does without. The other options are those of `rvit`.

    State: the recent frames (B, R, H, W) uint8 and whether there are any, (B,) uint8, both absent
    where window_frames is 1; then the hidden tokens of each layer (B, N, D).
    """

    def __init__(
        self,
        num_classes: int,
        *,
        patch_size: int = 8,
        patch_frames: int = 2,
        window_frames: int = 2,
        position_frames: int | None = None,
        layers: int = 2,
        dim: int = 192,
        heads: int = 8,
        mlp_dim: int = 768,
        attention: Attention = "linear",
        repeat_positions: bool = False,
        embedding_dim: int | None = None,
        dropout: float = 0.1,
        recurrent_dropout: float = 0.1,
        gradient_frames: int | None = None,
        input_size: int = 112,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        if patch_frames < 1 or window_frames < 1 or window_frames % patch_frames:
            raise UserError(
                f"window_frames is {window_frames}, patch_frames {patch_frames}: a window holds "
                f"whole patches. Give window_frames={patch_frames}, or another multiple of it."
            )
        if not 0 <= recurrent_dropout < 1:
            raise UserError(
                f"recurrent_dropout is {recurrent_dropout}: give a share from 0 to below 1."
            )
        slots = window_frames // patch_frames
        grid = patch_grid((input_size, input_size), patch_size)
        encoder = create_encoder(
            layers, dim, heads, mlp_dim, attention, dropout, repeat_positions=repeat_positions
        )
        super().__init__(
            num_classes,
            backbone=RViTImageBackbone(
                encoder, dim, (patch_frames, patch_size), slots, (position_frames or slots, *grid)
            ),
            embedding_dim=embedding_dim,
            dropout=dropout,
            gradient_frames=gradient_frames,
            input_size=input_size,
            mean=mean,
            std=std,
        )
        self.window_frames = window_frames
        self.recurrent_dropout = recurrent_dropout

    def _begin(self, batch: int, size: tuple[int, int]) -> State:
        hidden = self.reader.begin(batch, size)
        if self.window_frames == 1:
            return hidden
        recent = hidden[0].new_zeros(batch, 3 * (self.window_frames - 1), *size, dtype=torch.uint8)
        # Not bool: choosing clip by clip between two of these has no kernel in ONNX Runtime.
        return (recent, recent.new_zeros(batch), *hidden)

    def _read(self, frame: Tensor, state: State, masks: State | None) -> tuple[Tensor, State]:
        if self.window_frames == 1:
            return super()._read(frame, state, masks)
        recent, begun, *hidden = state
        copies = frame.repeat(1, self.window_frames - 1, 1, 1)
        recent = torch.where(begun[:, None, None, None] > 0, recent, copies)
        window = torch.cat([recent, frame], dim=1)
        # Frame by frame, since mean and std are for three channels.
        pixels = torch.cat([self.normalize(one) for one in window.split(3, dim=1)], dim=1)
        summary, after = self.reader(pixels, tuple(hidden), masks)
        return summary, (window[:, 3:].contiguous(), torch.ones_like(begun), *after)

    def _draw_masks(self, batch: int) -> State | None:
        if self.recurrent_dropout == 0:
            return None
        backbone = cast(RViTImageBackbone, self.backbone)
        ones = backbone.positions.new_ones(batch, 1, backbone.dim)
        return tuple(F.dropout(ones, self.recurrent_dropout) for _ in range(backbone.layers))
