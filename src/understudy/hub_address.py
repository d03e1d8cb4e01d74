"""Whether the Hugging Face hub can be reached: asked first, since its client would try for long."""

from __future__ import annotations

import socket
from urllib.parse import urlparse
from urllib.request import getproxies

REACH_S = 3.0
"""Seconds to wait for the hub's address; its client would try again for most of a minute."""


def is_reachable() -> bool:
    """Whether something answers at the hub's address. Behind a proxy only the client can tell."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=REACH_S).close()
    except OSError:
        return False
    return True
