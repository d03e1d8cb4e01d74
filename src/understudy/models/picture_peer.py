"""A picture model of any library as a recogniser of clips, to time ours against."""

from __future__ import annotations

from torch import Tensor, nn

from understudy.models.layers import Normalize, time_mask
from understudy.types import Output, Recognizer


class PicturePeer(Recognizer):
    """A picture model on every frame; what it gives, averaged over the frames, is both outputs."""

    def __init__(self, backbone: nn.Module, normalize: Normalize, size: int) -> None:
        super().__init__()
        self.normalize = normalize
        self.backbone = backbone
        self.head = nn.Identity()
        self.input_size = size
        self.clip_frames = None

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        features = self._encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self.forward_head(features, lengths)

    def _encode(self, pixels: Tensor) -> Tensor:
        return self.backbone(self.normalize(pixels))

    def forward_head(self, features: Tensor, lengths: Tensor | None = None) -> Output:
        """From what the picture model gives (B, T, F) to the output of the clip."""
        time = features.shape[1]
        if lengths is None:
            embedding = features.mean(1)
        else:
            weight = time_mask(lengths, time).to(features.dtype)[..., None]
            embedding = (features * weight).sum(1) / weight.sum(1)
        return Output(logits=self.head(embedding), embedding=embedding)
