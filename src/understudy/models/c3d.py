"""c3d: 3-D convolutions over 16 frames, and four relatives with fewer or no 3-D kernels.

    frames (B, 16, 3, S, S) uint8 -> normalise -> (B, 3, 16, S, S)
      -> five stages of 3x3x3 convolutions, ReLU and max pooling: 64, 128, 256 x 2, 512 x 2, 512 x 2
      -> (B, 512, P, P), P = 4 at S = 112
      -> head "fc":   fc6, ReLU, dropout, fc7 = embedding, ReLU, dropout, fc8 -> logits
         head "pool": mean over P x P (and a projection) = embedding, dropout, Linear -> logits

C3D is Tran, Bourdev, Fergus, Torresani and Paluri, "Learning spatiotemporal features with 3D
convolutional networks", ICCV 2015, section 3.2 and figure 3. Parameters of the convolutions at
width 64:

    c3d      as in the paper                                                        27,655,936
    c3d-sp   each 3x3x3 convolution split into 1x3x3 and 3x1x1                      12,823,616
    c3d-mc5  stage 5 in 2-D, its 2 frames folded into channels                      27,656,448
    c3d-mc4  stages 4 and 5 in 2-D, from 4 frames on                                54,790,400
    c3d-mc3  stages 3 to 5 in 2-D, from 8 frames on                                 89,887,488

A folded stage sees T frames of C channels as C x T channels, number c * T + t: every output frame
may read every input frame. Its first convolution (`a`) keeps the number of frames, its second (`b`)
halves it, and its pool is 2-D. Between the two halves of a split convolution stands no activation,
so that together they are one 3-D convolution of limited rank, which `transplant` makes use of.

Where the paper leaves things open, or this departs from it:
- Layer names, order of ReLU, dropout 0.5 after fc6 and fc7: the authors' released network.
- pool5 pads one pixel on either side and rounds down, where Caffe rounds 3.5 up; P is 4 in both.
- Pixels are normalised per channel; the authors subtract the mean video of their training set.
- Weights start as in He et al. 2015, biases with 0. The authors draw convolutions with a deviation
  of 0.01 and set biases to 1; a narrow network needs more (He: 0.096 for conv2a at width 8).
- fc7 is the embedding before its ReLU, so that it can lie anywhere in a teacher's space.

Legend beside the letters of `understudy.types`: S pixels a side, P side after pool5, C channels.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import UserError
from understudy.models.layers import Normalize
from understudy.types import Output, State, StreamingRecognizer

CLIP_FRAMES = 16

STAGES: dict[int, tuple[tuple[int, ...], int]] = {
    1: ((1,), 16),
    2: ((2,), 16),
    3: ((4, 4), 8),
    4: ((8, 8), 4),
    5: ((8, 8), 2),
}
"""Stage -> channels of its convolutions in multiples of the width, and frames that enter it."""

FIRST_FOLDED = {"mc3": 3, "mc4": 4, "mc5": 5}

Relative = Literal["c3d", "sp", "mc5", "mc4", "mc3"]


class SeparableConv3d(nn.Module):
    """A 1x3x3 convolution and a 3x1x1 one, with nothing between: (B, C, T, H, W) to the same.

    Both are computed in 2-D, frame by frame and place by place. The numbers are the same, and CPUs
    are two to three times as fast at it: their 3x1x1 convolutions take longer than 3x3x3 ones.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(channels_in, channels_out, (1, 3, 3), padding=(0, 1, 1))
        self.temporal = nn.Conv3d(channels_out, channels_out, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, clip: Tensor) -> Tensor:
        time, height, width = clip.shape[2:]
        spatial, temporal = self.spatial, self.temporal
        frames = clip.transpose(1, 2).flatten(0, 1)
        frames = F.conv2d(frames, spatial.weight.squeeze(2), spatial.bias, padding=1)
        places = frames.unflatten(0, (-1, time)).transpose(1, 2).flatten(3)
        places = F.conv2d(places, temporal.weight.squeeze(4), temporal.bias, padding=(1, 0))
        return places.unflatten(3, (height, width))


class C3D(StreamingRecognizer):
    """C3D or one of its relatives.

    relative: which of them. head: "fc" as published, for pictures of exactly `input_size`, or
    "pool". width: channels of the first stage; the others follow, 64 is the paper's. hidden_dim:
    width of fc6, and of fc7 where `embedding_dim` is not given; head "fc" only. embedding_dim:
    width of the embedding: of fc7, or of a projection behind "pool", which is left out where
    the pooled features (8 x width) have that width already. stream_stride: a stream computes an
    output for its first frame and then for every so many frames; between them it repeats the last.

    Takes 1 to 16 frames. A clip shorter than 16, by its `lengths`, is stretched: its frames are
    repeated evenly, so that padding is never looked at. Raises UserError for more than 16, for
    fewer without `lengths`, and for pictures that are not of `input_size`.
    """

    stream_frames: int | None = CLIP_FRAMES

    def __init__(
        self,
        num_classes: int,
        *,
        relative: Relative = "c3d",
        head: Literal["fc", "pool"] = "fc",
        width: int = 64,
        hidden_dim: int = 4096,
        embedding_dim: int | None = None,
        dropout: float = 0.5,
        stream_stride: int = 1,
        input_size: int = 112,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        _check_options(relative, head, width, stream_stride, input_size)
        self.relative: Relative = relative
        self.width = width
        self.num_classes = num_classes
        self.stream_stride = stream_stride
        self.input_size = input_size
        self.clip_frames = CLIP_FRAMES
        self.normalize = Normalize(tuple(mean), tuple(std))
        self.backbone = _create_backbone(relative, width)
        features = 8 * width
        if head == "fc":
            flat = features * (input_size // 32 + 1) ** 2
            self.embedding_dim = embedding_dim or hidden_dim
            self.embed = nn.Sequential(
                OrderedDict(
                    flatten=nn.Flatten(),
                    fc6=nn.Linear(flat, hidden_dim),
                    relu6=nn.ReLU(),
                    drop6=nn.Dropout(dropout),
                    fc7=nn.Linear(hidden_dim, self.embedding_dim),
                )
            )
            before = [("relu7", nn.ReLU()), ("drop7", nn.Dropout(dropout))]
        else:
            self.embedding_dim = embedding_dim or features
            self.embed = nn.Sequential(
                OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
            )
            if self.embedding_dim != features:
                self.embed.add_module("projection", nn.Linear(features, self.embedding_dim))
            before = [("dropout", nn.Dropout(dropout))]
        self.head = nn.Sequential(
            OrderedDict([*before, ("fc8", nn.Linear(self.embedding_dim, num_classes))])
        )
        self._initialise()
        self._lay_out_channels_last()

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if not isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
                continue
            if name == "head.fc8":
                nn.init.normal_(module.weight, std=0.01)
            else:
                # No ReLU follows the spatial half of a split convolution, nor a projection.
                is_linear = name.endswith((".spatial", ".projection"))
                gain = "linear" if is_linear else "relu"
                nn.init.kaiming_normal_(module.weight, nonlinearity=gain)
            assert module.bias is not None
            nn.init.zeros_(module.bias)

    def _lay_out_channels_last(self) -> None:
        """Convolutions on a CPU run half again as fast in this layout."""
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=cast(torch.memory_format, torch.channels_last_3d))
            elif isinstance(module, nn.Conv2d):
                module.to(memory_format=cast(torch.memory_format, torch.channels_last))

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        self._check_size(frames)
        time = frames.shape[1]
        if lengths is None:
            if time != CLIP_FRAMES:
                raise UserError(_wrong_length(self.relative, time))
            return self._recognize(frames)
        if time > CLIP_FRAMES and not torch.compiler.is_exporting():
            longest = int(lengths.max())
            if longest > CLIP_FRAMES:
                raise UserError(_wrong_length(self.relative, longest))
        return self._recognize(_stretched(frames, lengths, torch.zeros_like(lengths)))

    def _recognize(self, frames: Tensor) -> Output:
        """From whole clips (B, 16, 3, S, S) uint8."""
        pixels = self.normalize(frames.flatten(0, 1)).unflatten(0, (-1, CLIP_FRAMES))
        embedding = self.embed(self.backbone(pixels.transpose(1, 2)))
        return Output(logits=self.head(embedding), embedding=embedding)

    def init_state(self, batch_size: int) -> State:
        """The latest frames (B, 16 x 3, S, S) uint8, oldest first; how many there were (B,) int64;
        and the last output, logits (B, K) and embedding (B, E)."""
        side, weight = self.input_size, next(self.head.parameters())
        return (
            torch.zeros(
                batch_size, CLIP_FRAMES * 3, side, side, dtype=torch.uint8, device=weight.device
            ),
            torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
            weight.new_zeros(batch_size, self.num_classes),
            weight.new_zeros(batch_size, self.embedding_dim),
        )

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """The output equals that of `forward` for the latest 16 frames at the first frame and at
        every `stream_stride`-th; at the others it is the one before."""
        self._check_size(frame)
        latest, count, logits, embedding = state
        latest = torch.cat([latest[:, 3:], frame], dim=1)
        count = count + 1
        due = (count % self.stream_stride == 0) | (count == 1)
        exporting = torch.compiler.is_exporting()
        if self.stream_stride == 1 or exporting:  # a graph has no branches: compute, then choose
            new = self._recognize(_window(latest, count))
            logits = torch.where(due[:, None], new.logits.to(logits.dtype), logits)
            embedding = torch.where(due[:, None], new.embedding.to(embedding.dtype), embedding)
        elif due.any():
            new = self._recognize(_window(latest[due], count[due]))
            logits = logits.index_put((due,), new.logits.to(logits.dtype))
            embedding = embedding.index_put((due,), new.embedding.to(embedding.dtype))
        return Output(logits, embedding), (latest, count, logits, embedding)

    def _check_size(self, pixels: Tensor) -> None:
        height, width = pixels.shape[-2:]
        if (height, width) != (self.input_size, self.input_size):
            raise UserError(
                f"This model was built for pictures of {self.input_size} x {self.input_size} "
                f"pixels; given: {height} x {width}. Resize them, or build it with "
                "input_size (in a recipe: data.size)."
            )


def _create_backbone(relative: Relative, width: int) -> nn.Sequential:
    """Normalised pixels (B, 3, 16, S, S) to features (B, 8 x width, P, P)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, folded = 3, False
    for stage, (multiples, time) in STAGES.items():
        if stage == FIRST_FOLDED.get(relative):
            layers["fold"] = nn.Flatten(1, 2)
            folded = True
        for letter, multiple in zip("ab", multiples, strict=False):
            channels_in, channels = channels, multiple * width
            if folded:
                time_out = time if letter == "a" else time // 2
                time_in = time
                convolution = nn.Conv2d(channels_in * time_in, channels * time_out, 3, padding=1)
            elif relative == "sp":
                convolution = SeparableConv3d(channels_in, channels)
            else:
                convolution = nn.Conv3d(channels_in, channels, 3, padding=1)
            layers[f"conv{stage}{letter}"] = convolution
            layers[f"relu{stage}{letter}"] = nn.ReLU(inplace=True)
        layers[f"pool{stage}"] = _pool(stage, folded)
    if not folded:
        layers["fold"] = nn.Flatten(1, 2)  # one frame is left
    return nn.Sequential(layers)


def _pool(stage: int, folded: bool) -> nn.Module:
    margin = 1 if stage == 5 else 0
    if folded:
        return nn.MaxPool2d(2, padding=margin)
    return nn.MaxPool3d((1 if stage == 1 else 2, 2, 2), padding=(0, margin, margin))


def _stretched(frames: Tensor, lengths: Tensor, first: Tensor) -> Tensor:
    """16 frames of each clip: output i is input first + floor((i + 0.5) * length / 16)."""
    place = torch.arange(CLIP_FRAMES, device=lengths.device)
    index = first[:, None] + (2 * place + 1) * lengths[:, None] // (2 * CLIP_FRAMES)
    clip = torch.arange(frames.shape[0], device=lengths.device)[:, None]
    return frames[clip, index]


def _window(latest: Tensor, count: Tensor) -> Tensor:
    """The latest frames (B, 48, S, S) as clips of 16; what is there stands at the end."""
    lengths = count.clamp(max=CLIP_FRAMES)
    return _stretched(latest.unflatten(1, (CLIP_FRAMES, 3)), lengths, CLIP_FRAMES - lengths)


def _wrong_length(relative: Relative, given: int) -> str:
    name = "c3d" if relative == "c3d" else f"c3d-{relative}"
    way = (
        "Take 16 of its frames, e.g. data.frames=16, or feed them one by one as a stream."
        if given > CLIP_FRAMES
        else "Give `lengths` to have shorter clips stretched to 16, or set data.frames=16."
    )
    return (
        f"{name} needs clips of {CLIP_FRAMES} frames, or with `lengths` of 1 to {CLIP_FRAMES}; "
        f"given: {given}. {way}"
    )


def _check_options(
    relative: str, head: str, width: int, stream_stride: int, input_size: int
) -> None:
    if relative not in ("c3d", "sp", *FIRST_FOLDED):
        raise UserError(f"relative is c3d, sp, mc5, mc4 or mc3; given: {relative}.")
    if head not in ("fc", "pool"):
        raise UserError(f"head is fc or pool; given: {head}.")
    if width < 1 or stream_stride < 1:
        raise UserError(
            f"width and stream_stride are 1 or more; given: {width} and {stream_stride}."
        )
    if input_size < 16:
        raise UserError(f"input_size is 16 or more, for four poolings; given: {input_size}.")
