"""Names that requests give to what they create."""

import re

from control_plane.domain.errors import InvalidParameterException


def checked_name(name: str, *, what: str) -> str:
    """`what` is `cluster` or `service`. Raises InvalidParameterException."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise InvalidParameterException(
            f"The specified {what} name is invalid: up to 255 letters (uppercase and lowercase), numbers, underscores, "
            "and hyphens are allowed."
        )
    return name
