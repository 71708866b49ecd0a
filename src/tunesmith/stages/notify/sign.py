"""The headers of a message, by which its receiver knows who sent it, when, and that it is whole.

Source: Standard Webhooks, https://www.standardwebhooks.com, specification 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from tunesmith.core.errors import UsageError

PREFIX = "whsec_"


def secret_of(variable: str) -> bytes:
    """The secret in an environment variable; it is never part of a message.

    Raises:
        UsageError: there is none of the right form.
    """
    said = os.environ.get(variable, "").strip()
    try:
        secret = base64.b64decode(said.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not said.startswith(PREFIX) or not 24 <= len(secret) <= 64:
        raise UsageError(
            f"the environment variable {variable} "
            + ("holds no secret of the right form" if said else "is not set"),
            remedy=f'make one, give it to both sides: export {variable}="{PREFIX}'
            '$(openssl rand -base64 32)"',
        )
    return secret


def headers(id: str, timestamp: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of a message.

    >>> headers("msg_1", 1614265330, b"{}", b"0" * 24)["webhook-signature"][:12]
    'v1,3T1TQCann'
    """
    signed = f"{id}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
