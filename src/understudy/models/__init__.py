"""What learns. `create_model(name, num_classes, **options)` builds any of `list_models()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.errors import UserError, nearest
from understudy.models.attention_cnn import AttentionCNN
from understudy.models.c3d import C3D
from understudy.models.frames import FramesRecognizer
from understudy.models.rvit import RViT
from understudy.models.rvit_image import RViTImage
from understudy.types import Recognizer

__all__ = ["create_model", "list_models", "model_options"]

_MODELS: dict[str, Callable[..., Recognizer]] = {
    "cnn-attention": AttentionCNN,
    "cnn-plain": partial(AttentionCNN, attention="none"),
    "c3d": C3D,
    "c3d-mc3": partial(C3D, relative="mc3"),
    "c3d-mc4": partial(C3D, relative="mc4"),
    "c3d-mc5": partial(C3D, relative="mc5"),
    "c3d-sp": partial(C3D, relative="sp"),
    "frames-attention": partial(FramesRecognizer, temporal="attention"),
    "frames-average": partial(FramesRecognizer, temporal="average"),
    "frames-gru": partial(FramesRecognizer, temporal="gru"),
    "frames-tcn": partial(FramesRecognizer, temporal="tcn"),
    "mobilenetv3": partial(FramesRecognizer, backbone="mobilenetv3_small_100"),
    "mobilenetv4": partial(FramesRecognizer, backbone="mobilenetv4_conv_small"),
    "mobilevit-xxs": partial(FramesRecognizer, backbone="mobilevit_xxs"),
    "rvit": RViT,
    "rvit-image": RViTImage,
}


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(_MODELS)


def model_options(name: str) -> dict[str, Any]:
    """The options of a model with their defaults. Raises UserError for an unknown model."""
    if name not in _MODELS:
        raise UserError(
            f"There is no model {name}.{nearest(name, list_models())} "
            f"Models: {', '.join(list_models())}."
        )
    parameters = inspect.signature(_MODELS[name]).parameters
    return {
        option: parameter.default
        for option, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def create_model(name: str, num_classes: int, **options: Any) -> Recognizer:
    """Build a recogniser for `num_classes` classes.

    >>> model = create_model("mobilevit-xxs", 15)
    >>> sum(parameter.numel() for parameter in model.parameters())
    2303743

    Raises UserError for an unknown model or option, naming the nearest known one, and for a value
    that cannot be built with.
    """
    known = model_options(name)
    for option in options:
        if option not in known:
            raise UserError(
                f"{name} has no option {option}.{nearest(option, list(known))} "
                f"Options: {', '.join(known)}."
            )
    if num_classes < 1:
        raise UserError(f"A model needs at least one class; {num_classes} were asked for.")
    try:
        return _MODELS[name](num_classes, **options)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise UserError(f"{name} cannot be built with {given}: {error}") from error
