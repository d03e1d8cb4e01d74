"""What learns. `create_model(name, num_classes, **options)` builds any of `list_models()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

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

MOST_PARAMETERS, MOST_TENSORS = 1_000_000_000, 5_000


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


@contextmanager
def _bounded() -> Iterator[None]:
    """Raises ValueError as soon as what is being built is too large, before it fills the memory."""
    tensors = parameters = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, parameters
        tensors, parameters = (
            tensors + 1,
            parameters + (0 if parameter is None else parameter.numel()),
        )
        if parameters > MOST_PARAMETERS or tensors > MOST_TENSORS:
            raise ValueError(
                f"it has more than {MOST_PARAMETERS:,} parameters, or more than {MOST_TENSORS:,} "
                "tensors of them; give smaller numbers"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


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
        with _bounded():
            return _MODELS[name](num_classes, **options)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise UserError(f"{name} cannot be built with {given}: {error}") from error
