"""The section `data` of a recipe: which clips, which of their frames, and how they are varied."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from understudy.recipe.values import (
    Count,
    Folds,
    Method,
    Name,
    NotNegative,
    Number,
    Pixels,
    Place,
    Positive,
    Section,
    Seed,
    Share,
    Text,
    Whole,
)


class Augment(Section):
    """What is drawn once for a clip and applied to all of its frames. Off by default: 0 or 1."""

    crop_scale: Share = 1.0
    """Smallest share of the picture's area that a random crop keeps."""
    flip: Share = 0.0
    """Probability of a horizontal mirror. Off, because it turns walk_left into walk_right."""
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[NotNegative, Field(le=0.5)] = 0.0
    rotation_degrees: NotNegative = 0.0
    erase: Share = 0.0
    """Probability of blanking one rectangle, the same in every frame."""
    views: Count | None = None
    """Number of different draws per clip, repeated in turn; None: a new draw in every epoch. A
    finite number lets a cached teacher be reused, by later epochs and by other students."""

    @property
    def active(self) -> bool:
        """Whether anything is drawn at all."""
        return self.crop_scale < 1 or any(
            value > 0
            for value in (
                self.flip,
                self.brightness,
                self.contrast,
                self.saturation,
                self.hue,
                self.rotation_degrees,
                self.erase,
            )
        )


class Pseudo(Section):
    """Pseudo-clips: in training, a camera moves over each picture for `data.frames` frames; outside
    training it stands still for as many. Videos stay as they are."""

    pan: Share = 0.5
    """Of the camera that, where this section is given, moves over pictures in training: how far it
    may leave the middle, as a share of the room between its window and the picture's edge. Without
    zoom a square picture leaves no room."""
    zoom: Annotated[Number, Field(ge=1, le=4)] = 1.2
    """How much closer than the whole picture the camera may come."""
    rotation_degrees: Annotated[NotNegative, Field(le=45)] = 5.0


class Data(Section):
    """Which clips, which of their frames, at which size."""

    manifest: Place
    """A manifest (CSV or Parquet) or a folder with one sub-folder per class."""
    columns: dict[Text, Name] = Field(default={}, max_length=20)
    """What a column of the table is, where its name does not tell: `start_ms: begin`; "" for none.
    """
    pack: Place | None = None
    """A folder that `understudy data pack` has made of these clips. Their frames are read from
    there, the same as from files with the `short_side` and `jpeg_quality` that it was made with."""
    short_side: Pixels | None = None
    """Frames whose shorter side is longer are made that small first, before anything is drawn or
    resized to `size`; by default that of the pack, if there is one."""
    jpeg_quality: Annotated[Whole, Field(ge=1, le=100)] | None = None
    """Frames become JPEGs of this quality after that; by default as in the pack."""
    size: Pixels = 224
    """Pixels a side that models see."""
    frames: Count = 8
    sampling: Method = "uniform"
    stride_s: Positive | None = None
    """Seconds between two frames; for dense sampling."""
    augment: Augment = Augment()
    pseudo: Pseudo | None = None
    split_seed: Seed = 0
    """Seed of the split, where the manifest names none, and of folds."""
    folds: Folds = None
    """Test every clip once, by a student that has not met its group: in so many folds of whole
    groups, or one group after the other. All of them are trained, one run each."""
    fold: Count | None = None
    """Train this one of the folds alone."""
    seed: Seed = 0
    """Seed of every augmentation draw; apart from the seed of training, so that several students
    can see the same pixels."""
    workers: Annotated[Whole, Field(ge=0, le=256)] = 0
    memory_mb: Annotated[Whole, Field(ge=0, le=1_000_000)] = 512
    """Decoded frames kept in memory, so that later epochs need not decode again; all workers share
    them."""
    allow_shared_groups: bool = False
    """Accept a manifest in which one group stands in two splits. Its figures are then too good."""
    max_bad_share: Share = 0.05
    """Training stops when more than this share of the clips cannot be read."""

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> Data:
        if self.fold is not None and self.folds is None:
            raise ValueError("fold is one of folds; say how many there are")
        if self.fold is not None and isinstance(self.folds, int) and self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
        return self

    @model_validator(mode="after")
    def _stride_belongs_to_dense(self) -> Data:
        if (self.sampling == "dense") != (self.stride_s is not None):
            raise ValueError("stride_s and sampling: dense go together; give both or neither")
        return self

    @model_validator(mode="after")
    def _frames_are_large_enough(self) -> Data:
        if self.short_side is not None and self.short_side < self.size:
            raise ValueError(f"short_side is {self.short_side}, less than the size {self.size}")
        return self
