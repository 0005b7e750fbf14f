"""Short digests (SHA-256) by which contents are known."""

from __future__ import annotations


def short_digest(content: str | bytes, digits: int) -> str:
    """The first `digits` hexadecimal digits of the SHA-256 of `content`, a text in UTF-8."""
    import hashlib  # loads OpenSSL, and most commands need no digest

    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:digits]
