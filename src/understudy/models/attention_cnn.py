"""cnn-plain and cnn-attention: a small picture CNN with a slot for attention after each stage.

    frames (B, T, 3, H, W) uint8 -> N real frames (N, 3, H, W)
      -> per stage: `depth` times [3x3 convolution, BatchNorm, ReLU], the first with the stage's
         stride -> slot: nothing or attention -> (N, C, h, w)
      -> mean over positions -> features (N, F) -> Linear, LayerNorm, GELU -> tokens (B, T, E)
      -> mean over a clip's real frames -> embedding (B, E) -> Dropout, Linear -> logits (B, K)

What may stand in the slots, by the option `attention`:

- `spatial` and `channel`: the two halves of CBAM (Woo et al., "CBAM: Convolutional Block Attention
  Module", ECCV 2018, section 3); `both`: the whole of it, channel before spatial. What the paper
  leaves open is as in the authors' code: no bias in the 7x7 convolution, a BatchNorm of momentum
  0.01 behind it, biases in the MLP. Its inner layer has C / 16 channels, here at least 4, since a
  small network would be left with one or two.
- `linear`: self-attention over the h x w positions with the feature map phi(x) = elu(x) + 1
  (Katharopoulos et al., "Transformers are RNNs", ICML 2020, section 3.2), one head, added to what
  came in. Its cost grows with the number of positions, not with its square.
- `none`: nothing. `cnn-plain` is this one and has every other weight of `cnn-attention`, with the
  same values for the same seed.

Shape letters beside those of `understudy.types`: N frames of all clips, C channels of a stage, h w
positions of a stage's map, P = h * w.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from understudy.errors import UserError, nearest
from understudy.models.layers import Normalize, spread_real, time_mask
from understudy.models.linear_attention import linear_attention, positive
from understudy.models.temporal import AveragePool
from understudy.types import Output, State, StreamingRecognizer

Attention = Literal["none", "spatial", "channel", "both", "linear"]

_REDUCTION, _LEAST_HIDDEN = 16, 4


class AttentionCNN(StreamingRecognizer):
    """Pictures, or clips as the mean of their frames: it knows what was seen, not in which order.

    widths: channels after each stage. strides: of each stage's first convolution. depth:
    convolutions in a stage. embedding_dim: width E of the clip's embedding. The state of a stream
    is that of `AveragePool`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        attention: Attention = "both",
        widths: Sequence[int] = (32, 64, 128),
        strides: Sequence[int] = (2, 2, 2),
        depth: int = 2,
        embedding_dim: int = 128,
        dropout: float = 0.1,
        input_size: int = 64,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        _check(attention, widths, strides, depth)
        self.normalize = Normalize(tuple(mean), tuple(std))
        self.backbone = Stages(widths, strides, depth)
        self.projection = nn.Sequential(
            nn.Linear(widths[-1], embedding_dim), nn.LayerNorm(embedding_dim), nn.GELU()
        )
        self.temporal = AveragePool()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding_dim, num_classes))
        # Last, so that one seed gives all other weights the same values whatever the slots hold.
        self.backbone.slots = nn.ModuleList(create_slot(attention, width) for width in widths)
        self.attention = attention
        self.embedding_dim = embedding_dim
        self.input_size = input_size
        self.clip_frames = None

    @property
    def has_maps(self) -> bool:
        """Whether its attention weighs places, so that `attention_maps` has something to give."""
        return self.attention in ("spatial", "both", "linear")

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        real = _real_frames(frames, lengths)
        if lengths is None or torch.compiler.is_exporting():
            tokens = self._tokens(frames.flatten(0, 1)).unflatten(0, real.shape)
        else:  # padding would shift the statistics of batch normalisation while training
            tokens = spread_real(self._tokens(frames[real]), real)
        embedding = self.temporal(tokens, real)
        return Output(logits=self.head(embedding), embedding=embedding)

    def init_state(self, batch_size: int) -> State:
        like = next(self.projection.parameters())
        return self.temporal.init_state(batch_size, self.embedding_dim, like)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        embedding, state = self.temporal.step(self._tokens(frame), state)
        return Output(logits=self.head(embedding), embedding=embedding), state

    def _tokens(self, pixels: Tensor) -> Tensor:
        """Tokens (N, E) of frames (N, 3, H, W) uint8."""
        return self.projection(self.backbone(self.normalize(pixels)))

    @torch.no_grad()
    def attention_maps(self, frames: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """Where it looks: one map (B, T, h, w) float in [0, 1] per stage, 0 for padded frames.

        `spatial` and `both`: the weight that features of this place are multiplied by. `linear`:
        the attention that a place receives from all places together, over the largest of its frame.
        Computed anew on every call; nothing is kept.

        Raises UserError for `none` and `channel`, which weigh no places, and in training mode, in
        which a clip's maps would depend on the other clips and move the running statistics.
        """
        if not self.has_maps:
            raise UserError(
                f"attention={self.attention} weighs no places, so there are no maps to show. "
                "Those with maps: spatial, both, linear."
            )
        if self.training:
            raise UserError("This model is in training mode. Call eval() before attention_maps().")
        real = _real_frames(frames, lengths)
        maps = cast(Stages, self.backbone).maps(self.normalize(frames[real]))
        return tuple(spread_real(one, real) for one in maps)


class Stages(nn.Module):
    """Normalised pixels (N, 3, H, W) to features (N, F), F the width of the last stage."""

    slots: nn.ModuleList

    def __init__(self, widths: Sequence[int], strides: Sequence[int], depth: int) -> None:
        super().__init__()
        before = (3, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    _convolution(before[i] if first else width, width, strides[i] if first else 1)
                    for first in [True] + [False] * (depth - 1)
                )
            )
            for i, width in enumerate(widths)
        )
        self.slots = nn.ModuleList(nn.Identity() for _ in widths)

    def forward(self, pixels: Tensor) -> Tensor:
        for stage, slot in zip(self.stages, self.slots, strict=True):
            pixels = slot(stage(pixels))
        return pixels.mean((2, 3))

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The map (N, h, w) of every slot."""
        found = []
        for stage, slot in zip(self.stages, self.slots, strict=True):
            features = stage(pixels)
            assert isinstance(slot, SpatialAttention | Cbam | LinearAttention)
            found.append(slot.map(features)[:, 0])
            pixels = slot(features)
        return found


class ChannelAttention(nn.Module):
    """CBAM's channel half: sigmoid(MLP(mean over positions) + MLP(maximum over positions))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // _REDUCTION, _LEAST_HIDDEN)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, features: Tensor) -> Tensor:
        summed = self.mlp(features.mean((2, 3))) + self.mlp(features.amax((2, 3)))
        return features * summed.sigmoid()[:, :, None, None]


class SpatialAttention(nn.Module):
    """CBAM's spatial half: a 7x7 convolution over the maximum and the mean of all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def map(self, features: Tensor) -> Tensor:
        """The weight of every place, (N, 1, h, w)."""
        summary = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        return self.norm(self.convolution(summary)).sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        return features * self.map(features)


class Cbam(nn.Module):
    """Channel attention, then spatial attention on what it leaves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(width)
        self.spatial = SpatialAttention()

    def map(self, features: Tensor) -> Tensor:
        """The weight of every place, (N, 1, h, w)."""
        return self.spatial.map(self.channel(features))

    def forward(self, features: Tensor) -> Tensor:
        return self.spatial(self.channel(features))


class LinearAttention(nn.Module):
    """x + W_o linear_attention(Q, K, V) with positions as tokens, LayerNorm before Q, K and V.

    No position encoding: convolutions whose borders are padded with zeros have told the features
    where they are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def map(self, features: Tensor) -> Tensor:
        """What each place receives of all attention, over the frame's largest: (N, 1, h, w).

        The share of place j is the mean over i of phi(q_i) phi(k_j) / (phi(q_i) sum phi(k)), which
        needs no P x P matrix: the sum over i can be taken first.
        """
        query, key, _ = self._projected(features)
        query, key = positive(query), positive(key)
        asked = (query / (query @ key.sum(1)[..., None])).mean(1)
        received = torch.einsum("npc,nc->np", key, asked)
        received = received / received.amax(1, keepdim=True)
        return received.unflatten(1, features.shape[2:])[:, None]

    def forward(self, features: Tensor) -> Tensor:
        mixed = linear_attention(*(one[:, None] for one in self._projected(features)))[:, 0]
        return features + self.output(mixed).transpose(1, 2).unflatten(2, features.shape[2:])

    def _projected(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q, K and V, each (N, P, C)."""
        tokens = self.norm(features.flatten(2).transpose(1, 2))
        query, key, value = self.query_key_value(tokens).chunk(3, dim=-1)
        return query, key, value


def create_slot(attention: Attention, width: int) -> nn.Module:
    """What stands after a stage of `width` channels: (N, C, h, w) to the same shape."""
    match attention:
        case "spatial":
            return SpatialAttention()
        case "channel":
            return ChannelAttention(width)
        case "both":
            return Cbam(width)
        case "linear":
            return LinearAttention(width)
    return nn.Identity()


def _convolution(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def _real_frames(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T) bool, True where a frame is no padding."""
    batch, time = frames.shape[:2]
    if lengths is None:
        return torch.ones(batch, time, dtype=torch.bool, device=frames.device)
    return time_mask(lengths, time)


def _check(attention: str, widths: Sequence[int], strides: Sequence[int], depth: int) -> None:
    known = get_args(Attention)
    if attention not in known:
        raise UserError(
            f"There is no attention {attention}.{nearest(attention, known)} "
            f"There are: {', '.join(known)}."
        )
    if not widths or len(widths) != len(strides) or depth < 1:
        raise UserError(
            f"widths {list(widths)}, strides {list(strides)} and depth {depth} make no network: "
            "give one width and one stride per stage, and at least one convolution in each."
        )
