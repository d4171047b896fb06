"""How our kernels pack messages: like jupyter_client, but a lone surrogate is no dead end."""

from __future__ import annotations

import json
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_client.session import json_packer


def pack(message: Any) -> bytes:
    """Return the message as JSON in UTF-8.

    A text that UTF-8 has no bytes for, as half of an emoji cut in two, would otherwise raise in
    the thread that sends outputs, and the kernel would wait for that output for ever.
    """
    try:
        packed: bytes = json_packer(message)
    except UnicodeEncodeError:
        packed = json.dumps(message, default=json_default, allow_nan=False).encode()
    return packed
