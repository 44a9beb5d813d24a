"""Pages of a list. A nextToken names where the last page ended, so that the list may change between two pages.

It is authenticated together with the operation and the other members of the request: one that was changed or made up,
or that another list or another filter gave, is refused. It is no secret, as it names only what a page came to. The size
may differ from page to page. Tokens end with the administrator's secret, from which their key is derived.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from control_plane.domain.errors import InvalidParameterException

_FREE = frozenset({"nextToken", "maxResults"})
"""Members that may change from page to page."""
_MAC_BYTES = 16


@dataclass(frozen=True)
class Place:
    """Where a page ended: after this line of the item with this key, in this part of the list."""

    part: str
    key: str
    line: str = ""


@dataclass(frozen=True)
class Asked:
    """The page that is wanted: so many lines at most, from the beginning or after a place."""

    size: int
    after: Place | None = None


@dataclass(frozen=True)
class Paging:
    """One request for a page. `token_key` authenticates tokens; `at_most` is the size if the request says none."""

    token_key: bytes
    operation: str
    request: Mapping[str, Any]
    at_most: int = 100

    def asked(self) -> Asked:
        """Raises InvalidParameterException for a token that is not of this operation and request."""
        size, token = self.request.get("maxResults", self.at_most), self.request.get("nextToken")
        if not token:
            return Asked(size)
        try:
            said = base64.b64decode(token.encode(), altchars=b"-_", validate=True)[_MAC_BYTES:]
        except (binascii.Error, UnicodeError):
            said = b""
        if not hmac.compare_digest(self._token(said).encode(), token.encode(errors="replace")):
            raise InvalidParameterException(
                "Invalid token. A nextToken is for the operation that answered it, with the other parameters as they "
                "were. Leave it out to begin at the first page."
            )
        return Asked(size, Place(*json.loads(said)))

    def more(self, ended: Place | None) -> dict[str, str]:
        """The answer's member nextToken, if the list goes on after that place."""
        if ended is None:
            return {}
        return {"nextToken": self._token(json.dumps([ended.part, ended.key, ended.line]).encode())}

    def page_of(self, names: Sequence[str], *, descending: bool = False) -> tuple[Sequence[str], dict[str, str]]:
        """The page of a list that is small and sorted, and the answer's member nextToken."""
        asked = self.asked()
        after = asked.after
        rest = [name for name in names if after is None or (name < after.key if descending else name > after.key)]
        page = rest[: asked.size]
        return page, self.more(Place("", page[-1]) if len(rest) > asked.size else None)

    def _token(self, said: bytes) -> str:
        of_list = {name: value for name, value in self.request.items() if name not in _FREE}
        bound = json.dumps([self.operation, of_list], sort_keys=True, default=str).encode()
        # The digest has one length, so that no other operation, request and place make the same bytes.
        mac = hmac.digest(self.token_key, sha256(bound).digest() + said, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac + said).decode()
