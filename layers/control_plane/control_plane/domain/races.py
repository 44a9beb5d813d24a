"""What a failed condition means. An error here says who must act: nobody does, the flow decides again.

LostRace
├── InstanceChangedError   the instance cannot take the task any more, or is another registration
├── TaskChangedError       somebody else wrote the task since it was read
├── ServiceChangedError    another run of the scheduler, or an API call, wrote the service
├── TokenUsedError         the client token has already been used: its answer is in the table
└── ItemChangedError       any other item
"""


class LostRace(Exception):  # noqa: N818 - it is news, not a fault
    """The table is not what the decision rested on any more: read again and decide again."""


class InstanceChangedError(LostRace):
    """The instance lacks what it had when the decision was made."""


class TaskChangedError(LostRace):
    """The task was written since it was read."""


class ServiceChangedError(LostRace):
    """The service was written since it was read."""


class TokenUsedError(LostRace):
    """A request with this token has been answered before."""


class ItemChangedError(LostRace):
    """An item was written since it was read."""
