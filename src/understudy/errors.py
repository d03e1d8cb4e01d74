"""The one error that is the user's to mend, and words for its message."""

import errno
from collections.abc import Sequence

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES})
"""What a system says of a disk that is full or may not be written: nobody's defect."""


class UserError(ValueError):
    """Something the user gave is wrong, or something the user has is missing.

    The message says what was given, what is allowed and what to do next. The command line prints
    it without a traceback and exits with code 2; any other exception is our own defect and keeps
    its traceback. Control characters of names in it are shown escaped, since a terminal obeys them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            "".join(
                one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in message
            )
        )


def some_of(names: Sequence[str], most: int = 5, count: int | None = None) -> str:
    """The first of some names, and how many more there are of `count`, for messages.

    >>> some_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    left = (len(names) if count is None else count) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")


def short(text: str, most: int = 60) -> str:
    """A text, as far as a message has room for it.

    >>> short("a" * 100, most=3)
    'aaa...'
    """
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint naming the known name closest to a misspelt one, or an empty string.

    >>> nearest("epoch", ["epochs", "seed"])
    ' Did you mean epochs?'
    """
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""
