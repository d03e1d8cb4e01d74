"""frames: a picture backbone on every frame, then time, then a classifier.

    frames (B, T, 3, H, W) uint8 -> backbone -> features (B, T, F)
      -> Linear, LayerNorm, GELU, Dropout -> tokens (B, T, E)
      -> temporal head (average, attention, tcn, gru) -> embedding (B, E)
      -> Linear, ReLU, Dropout, Linear -> logits (B, K)

One family covers the MobileViT student with temporal attention pooling, the MobileNet students and
a frozen ImageNet network as teacher. `mobilevit-xxs` has 2,303,743 parameters at K = 15.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from understudy.errors import UserError, nearest
from understudy.models.backbones import (
    RANDOM,
    create_backbone,
    freeze,
    statistics_of,
)
from understudy.models.layers import Normalize, spread_real, time_mask
from understudy.models.temporal import TEMPORAL_HEADS, create_temporal_head
from understudy.types import Output, State, StreamingRecognizer


class FramesRecognizer(StreamingRecognizer):
    """A backbone per frame, a projection, a temporal head, a classifier.

    The embedding is what the temporal head gives: train it in a teacher's space by setting
    `embedding_dim` to the teacher's. The state of a stream is the temporal head's; `stream_frames`
    is `window` for `attention`, which looks at no more of a clip than that.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "mobilevit_xxs",
        temporal: Literal["average", "attention", "tcn", "gru"] = "attention",
        weights: str = RANDOM,
        freeze_backbone: bool = False,
        embedding_dim: int = 512,
        hidden_dim: int = 256,
        heads: int = 4,
        dropout: float = 0.1,
        positions: bool = True,
        window: int = 64,
        layers: int = 3,
        kernel: int = 3,
        input_size: int = 224,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__()
        if freeze_backbone and weights == RANDOM:
            raise UserError(
                f"freeze_backbone with random weights: {backbone} would never learn anything. "
                "Give weights=hub or weights=PATH, or leave it unfrozen."
            )
        if temporal not in TEMPORAL_HEADS:
            raise UserError(
                f"There is no temporal head {temporal}.{nearest(temporal, TEMPORAL_HEADS)} "
                f"Heads: {', '.join(TEMPORAL_HEADS)}."
            )
        if temporal == "attention" and embedding_dim % (2 * heads):
            raise UserError(f"embedding_dim {embedding_dim} must be a multiple of 2 x heads.")
        for option, value, least in (
            ("window", window, 1),
            ("layers", layers, 1),
            ("kernel", kernel, 2),  # one frame alone would be no convolution over time
        ):
            if value < least:
                raise UserError(f"{option} is {value}; it must be at least {least}.")
        self.backbone, self.num_features = create_backbone(backbone, weights)
        if mean is not None and std is not None:
            self.normalize = Normalize(tuple(mean), tuple(std))
        else:
            own_mean, own_std = statistics_of(self.backbone, backbone, weights)
            self.normalize = Normalize(tuple(mean or own_mean), tuple(std or own_std))
        self.projection = nn.Sequential(
            nn.Linear(self.num_features, embedding_dim),
            nn.LayerNorm(embedding_dim),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.temporal = create_temporal_head(
            temporal,
            embedding_dim,
            dropout=dropout,
            heads=heads,
            positions=positions,
            window=window,
            layers=layers,
            kernel=kernel,
        )
        self.head = nn.Sequential(
            nn.Linear(embedding_dim, hidden_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, num_classes),
        )
        self.input_size = input_size
        self.clip_frames = None
        self.stream_frames = self.temporal.stream_frames
        self.embedding_dim = embedding_dim
        self.frozen_backbone = freeze_backbone
        if freeze_backbone:
            freeze(self.backbone)
        # Depthwise convolutions run up to half again as fast on a CPU in this layout.
        self.backbone.to(memory_format=cast(torch.memory_format, torch.channels_last))

    def train(self, mode: bool = True) -> FramesRecognizer:
        """Frozen means frozen: batch statistics and dropout of the backbone stay off too."""
        super().train(mode)
        if self.frozen_backbone:
            self.backbone.eval()
        return self

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        return self.forward_head(self.forward_features(frames, lengths), lengths)

    def forward_features(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features (B, T, F) of every frame; those of padding are zero, or arbitrary in an export.

        Padding is left out before the backbone, where it would otherwise shift the statistics of
        batch normalisation while training.
        """
        batch, time = frames.shape[:2]
        if lengths is None or torch.compiler.is_exporting():
            return self._encode(frames.flatten(0, 1)).unflatten(0, (batch, time))
        real = time_mask(lengths, time)
        return spread_real(self._encode(frames[real]), real)

    def forward_head(self, features: Tensor, lengths: Tensor | None = None) -> Output:
        """From features (B, T, F) to the output of the clip."""
        batch, time = features.shape[:2]
        if lengths is None:
            mask = torch.ones(batch, time, dtype=torch.bool, device=features.device)
        else:
            mask = time_mask(lengths, time)
        embedding = self.temporal(self.projection(features), mask)
        return Output(logits=self.head(embedding), embedding=embedding)

    def init_state(self, batch_size: int) -> State:
        """What the temporal head remembers: see `temporal.py` and `tcn.py`."""
        like = next(self.projection.parameters())
        return self.temporal.init_state(batch_size, self.embedding_dim, like)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        token = self.projection(self._encode(frame))
        embedding, state = self.temporal.step(token, state)
        return Output(logits=self.head(embedding), embedding=embedding), state

    def _encode(self, pixels: Tensor) -> Tensor:
        normalised = self.normalize(pixels).contiguous(memory_format=torch.channels_last)
        if self.frozen_backbone:
            with torch.no_grad():
                return self.backbone(normalised)
        return self.backbone(normalised)
