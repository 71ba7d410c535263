"""One key for all callers, enabled as soon as the setting ``api_key`` has one."""

import hashlib
import hmac
from collections.abc import Mapping

from longshore.core.hookspecs import hookimpl
from longshore.core.settings import Settings
from longshore.core.types import Identity

REMEMBER = 60.0
"""Seconds; the key cannot change while the platform runs."""


class Plugin:
    """Recognises callers by ``Authorization: Bearer KEY``."""

    @hookimpl(trylast=True)
    def longshore_authenticate(
        self, headers: Mapping[str, str], settings: Settings
    ) -> Identity | None:
        """Recognise whoever sends the platform's key."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        if scheme.lower() != "bearer" or not key:
            return None
        # Header fields are bytes, which HTTP servers hand on as Latin-1.
        if not _same(sent.strip().encode("latin-1", "replace"), key.encode()):
            return None
        return Identity(name="api-key", how="bearer key", remember=REMEMBER)


def _same(one: bytes, other: bytes) -> bool:
    """Compare in a time that tells neither content nor length."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())
