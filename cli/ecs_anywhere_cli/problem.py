"""What stops a command, and what to do about it."""


class ProblemError(Exception):
    """The text says what is wrong and what to do next; shown without a traceback."""
