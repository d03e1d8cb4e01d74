"""What systems and programs leave beside a user's files: no class, no clip and no frame."""

from __future__ import annotations

_LITTER = frozenset({
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini",
    "lost+found", "system volume information", "__pycache__", "icon\r",
})  # fmt: skip


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data: `.ipynb_checkpoints`, `._a.jpg`,
    `Thumbs.db`, `__MACOSX`."""
    return name.startswith(".") or name.casefold() in _LITTER
