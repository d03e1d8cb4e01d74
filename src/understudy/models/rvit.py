"""rvit: the recurrent vision transformer (Yang et al., "Recurring the Transformer for Video Action
Recognition", CVPR 2022).

A small vision transformer reads one frame at a time. Its attention also reads what the frames
before left behind: for each layer l a map of hidden tokens h_l.

    x = [class token; P x P convolution patches of this frame]
    in every layer l:   x <- x + p                           positions p, the same for all frames
                        Q, K, V = W LN(x) + U LN(h_l + p)    the attention gate
                        a = Linear(attention(Q, K, V))
                        x <- x + a,  h_l <- h_l + a
                        x <- x + MLP(LN(x))
    after a frame:      [class token; sequence token of h_1; ...; of h_L] -> LayerNorm -> classifier

Where the paper leaves a detail open, the authors' code decides (github.com/Jiewen-Yang/RViT):
h starts as zeros with a learned sequence token per layer in front; class and sequence token share a
position; W and U have biases; x has p added before every layer, and keeps it; dropout lies on x, on
the way of `a` into x but not into h, and in the MLP. Where that code disagrees with the paper or
with itself: it leaves p in h too, so that h gains p with every frame; here h <- h + a. Its command
line says linear attention and its model file runs softmax; here it is linear by default, with the
normaliser that theirs lacks. It has two heads, an MLP in the model file, LayerNorm and Linear in
the trained network that its README prints; here the latter. Tokens and positions start from a
truncated normal of 0.02, as in other vision transformers, not from a unit normal.

h adds up without bound, and LayerNorm passes on its direction alone, so frame t moves h's direction
by about 1/t: after a long stream nothing new gets in. docs/rvit.md has figures and the remedy.

Shape letters beside those of `understudy.types`: P patch side, N tokens, D their width, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import UserError, nearest
from understudy.models.linear_attention import linear_attention
from understudy.models.recurrent import FrameBackbone, RecurrentRecognizer, size_of
from understudy.types import State

Attention = Literal["linear", "softmax", "mixed"]
_EPS = 1e-6
"""Of LayerNorm, as in the vision transformers that can be a start."""


class AttentionGate(nn.Module):
    """Q, K, V from the frame's tokens and the hidden ones; x, h and the result are (B, N, D).

    `mixed` blends linear and softmax attention, a learned share for each head that starts at half.
    """

    def __init__(self, dim: int, heads: int, attention: Attention) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.qkv_x = nn.Linear(dim, 3 * dim)
        self.qkv_h = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        if attention == "mixed":
            self.blend = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for one in (self.qkv_x(x) + self.qkv_h(h)).chunk(3, dim=-1)
        )
        if self.attention == "linear":
            seen = linear_attention(query, key, value)
        elif self.attention == "softmax":
            seen = F.scaled_dot_product_attention(query, key, value)
        else:
            seen = torch.lerp(
                linear_attention(query, key, value),
                F.scaled_dot_product_attention(query, key, value),
                self.blend.sigmoid().to(query.dtype),
            )
        return self.out(seen.transpose(1, 2).flatten(2))


class RecurrentBlock(nn.Module):
    """One layer: tokens x and hidden tokens h in, both moved on by one frame out."""

    def __init__(
        self, dim: int, heads: int, mlp_dim: int, attention: Attention, dropout: float
    ) -> None:
        super().__init__()
        self.norm_x = nn.LayerNorm(dim, eps=_EPS)
        self.norm_h = nn.LayerNorm(dim, eps=_EPS)
        self.gate = AttentionGate(dim, heads, attention)
        self.dropout = nn.Dropout(dropout)
        self.norm_mlp = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(
        self, x: Tensor, h: Tensor, positions: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        read = self.norm_h(h + positions)
        if mask is not None:
            read = read * mask
        seen = self.gate(self.norm_x(x), read)
        x = x + self.dropout(seen)
        return x + self.mlp(self.norm_mlp(x)), h + seen


class RecurrentEncoder(nn.Module):
    """All layers. `repeat_positions`: add them before every layer, else before the first alone."""

    def __init__(self, blocks: Sequence[RecurrentBlock], dropout: float, repeat_positions: bool):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(dropout)
        self.repeat_positions = repeat_positions

    def forward(
        self, x: Tensor, hidden: State, positions: Tensor, masks: State | None
    ) -> tuple[Tensor, State]:
        after: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            if layer == 0 or self.repeat_positions:
                x = self.dropout(x + positions)
            x, h = block(x, hidden[layer], positions, masks[layer] if masks else None)
            after.append(h)
        return x, tuple(after)


class RViTBackbone(FrameBackbone):
    """Frames of the paper's form: 2-D patches, a class token, a sequence token in every h."""

    def __init__(self, encoder: RecurrentEncoder, dim: int, patch_size: int, size: int) -> None:
        super().__init__()
        layers = len(encoder.blocks)
        self.summary_dim = (1 + layers) * dim
        self.patch_size = patch_size
        self.patches = nn.Conv2d(3, dim, patch_size, patch_size)
        self.positions = nn.Parameter(torch.empty(1, dim, *patch_grid((size, size), patch_size)))
        self.class_position = nn.Parameter(torch.empty(1, 1, dim))
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.sequence_tokens = nn.Parameter(torch.empty(layers, 1, dim))
        self.encoder = encoder
        for learned in (self.positions, self.class_position, self.class_token):
            nn.init.trunc_normal_(learned, std=0.02)
        nn.init.trunc_normal_(self.sequence_tokens, std=0.02)

    def tokens(self, size: tuple[int, int]) -> int:
        height, width = patch_grid(size, self.patch_size)
        return 1 + height * width

    def begin(self, batch: int, size: tuple[int, int]) -> State:
        learned = self.sequence_tokens
        zeros = learned.new_zeros(batch, self.tokens(size) - 1, learned.shape[-1])
        return tuple(torch.cat([token.expand(batch, -1, -1), zeros], dim=1) for token in learned)

    def forward(
        self, pixels: Tensor, hidden: State, masks: State | None = None
    ) -> tuple[Tensor, State]:
        tokens = self.patches(pad_to_patches(pixels, self.patch_size))
        places = resize_positions(self.positions, tokens.shape[-2:])
        positions = torch.cat([self.class_position, places.flatten(2).mT], dim=1)
        x = torch.cat(
            [self.class_token.expand(tokens.shape[0], -1, -1), tokens.flatten(2).mT], dim=1
        )
        x, hidden = self.encoder(x, hidden, positions, masks)
        return torch.cat([x[:, 0], *(h[:, 0] for h in hidden)], dim=-1), hidden


class RViT(RecurrentRecognizer):
    """The paper's form. The defaults are its reference size for gestures.

    attention: `linear`, `softmax` or `mixed`. embedding_dim: None as in the paper, where the
    embedding is all tokens side by side, (1 + L) * D; a number puts a Linear before the classifier,
    for an embedding in a teacher's space. repeat_positions: add positions before every layer, as
    the authors do; False: before the first alone, as other vision transformers do.
    gradient_frames: see `RecurrentRecognizer`.

    Positions are learned on the grid of `input_size` and resized for any other. A side that is no
    multiple of patch_size is padded, at its end, with the mean colour.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        patch_size: int = 8,
        layers: int = 2,
        dim: int = 192,
        heads: int = 8,
        mlp_dim: int = 768,
        attention: Attention = "linear",
        repeat_positions: bool = True,
        embedding_dim: int | None = None,
        dropout: float = 0.1,
        gradient_frames: int | None = None,
        input_size: int = 112,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        encoder = create_encoder(
            layers, dim, heads, mlp_dim, attention, dropout, repeat_positions=repeat_positions
        )
        super().__init__(
            num_classes,
            backbone=RViTBackbone(encoder, dim, patch_size, input_size),
            embedding_dim=embedding_dim,
            dropout=dropout,
            gradient_frames=gradient_frames,
            input_size=input_size,
            mean=mean,
            std=std,
        )


def create_encoder(
    layers: int,
    dim: int,
    heads: int,
    mlp_dim: int,
    attention: Attention,
    dropout: float,
    *,
    repeat_positions: bool,
) -> RecurrentEncoder:
    """Raises UserError for sizes that do not go together or an unknown attention."""
    if attention not in get_args(Attention):
        raise UserError(
            f"There is no attention {attention}.{nearest(attention, get_args(Attention))} "
            f"Choose from {', '.join(get_args(Attention))}."
        )
    if layers < 1 or dim % heads:
        raise UserError(f"layers ({layers}) must be 1 or more, dim ({dim}) a multiple of heads.")
    blocks = [RecurrentBlock(dim, heads, mlp_dim, attention, dropout) for _ in range(layers)]
    return RecurrentEncoder(blocks, dropout, repeat_positions)


def patch_grid(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Patches in height and width that cover a picture; the last ones may reach beyond it."""
    return -(-size[0] // patch), -(-size[1] // patch)


def pad_to_patches(pixels: Tensor, patch: int) -> Tensor:
    """Normalised pixels with zeros, the mean colour, up to whole patches on the right and below."""
    height, width = size_of(pixels)
    if height % patch == width % patch == 0:
        return pixels  # an empty padding would be a copy, and hide the pixels from an exporter
    return F.pad(pixels, (0, -width % patch, 0, -height % patch))


def resize_positions(positions: Tensor, grid: Sequence[int]) -> Tensor:
    """Learned positions (1, D, ...) for another grid: bicubic in 2-D, trilinear in 3-D.

    Those of the same grid come back as they are.
    """
    if positions.shape[2:] == torch.Size(grid):
        return positions
    flat = len(grid) == 2
    return F.interpolate(
        positions.float(),
        size=tuple(grid),
        mode="bicubic" if flat else "trilinear",
        antialias=flat,  # as timm does; trilinear has none
    ).to(positions.dtype)
