"""A file of environment variables, read as Amazon's agent reads it. Pure.

One VARIABLE=VALUE a line. A line that begins with `#`, has no `=`, or nothing on one of its sides says nothing. There
are no quotes, escapes or continued lines, and spaces belong to what they stand in.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html
"""

from collections.abc import Iterable

MOST_BYTES = 1024 * 1024
"""Of a file. Amazon sets no limit; what is more than that no process could be given."""
_MOST_BYTES_OF_A_LINE = 64 * 1024
"""As in Amazon's agent, whose reader takes no longer one."""


class UnusableFileError(ValueError):
    """The text says why; it shows nothing of the file."""


def variables_of(content: bytes) -> dict[str, str]:
    """The last of several values of one variable counts. Raises UnusableFileError."""
    found = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if len(line) >= _MOST_BYTES_OF_A_LINE:
            raise UnusableFileError(f"line {number} is longer than {_MOST_BYTES_OF_A_LINE} bytes")
        if b"\0" in line:
            raise UnusableFileError(f"line {number} has a NUL byte, which no environment variable can have")
        name, _, value = line.removesuffix(b"\r").decode(errors="replace").partition("=")
        if name and value and not name.startswith("#"):
            found[name] = value
    return found


def merged(files: Iterable[dict[str, str]]) -> dict[str, str]:
    """Of several files the first that has a variable counts."""
    variables: dict[str, str] = {}
    for each in files:
        variables = {**each, **variables}
    return variables
