"""Pages of a sorted list. The token is the last name given, so that the list may change between two pages."""

import base64
import binascii
from collections.abc import Sequence

from control_plane.domain.errors import InvalidParameterException


def page_of(
    names: Sequence[str], token: str | None, size: int, *, descending: bool = False
) -> tuple[list[str], str | None]:
    """The page after `token`, and the token of the next page if there is one.

    Raises InvalidParameterException if the token is none of ours.
    """
    last = _decode(token) if token else None
    rest = [name for name in names if last is None or (name < last if descending else name > last)]
    page = rest[:size]
    return page, base64.urlsafe_b64encode(page[-1].encode()).decode() if len(rest) > size else None


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError) as error:
        raise InvalidParameterException("Invalid token. Retry without nextToken to begin at the first page.") from error
