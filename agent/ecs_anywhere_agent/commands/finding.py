"""Which task somebody means. Pure."""

from collections.abc import Mapping

import click

_SHORTEST_PREFIX = 6
_SHOWN = 12


def find_task(wanted: str, tasks: Mapping[str, str]) -> str:
    """The id of the one that an ARN, an id or the beginning of an id names; `tasks` says of each id what it is.

    Raises click.ClickException, with the tasks that there are.
    """
    name = wanted.rpartition("/")[2]
    if name in tasks:
        return name
    matching = [task_id for task_id in tasks if name and task_id.startswith(name)]
    if len(name) >= _SHORTEST_PREFIX and len(matching) == 1:
        return matching[0]
    if len(name) < _SHORTEST_PREFIX and matching:
        problem = f"{wanted!r} is too short: give at least {_SHORTEST_PREFIX} characters of a task's id."
    elif matching:
        problem = f"{wanted!r} begins the id of more than one task: give more of it."
        tasks = {task_id: tasks[task_id] for task_id in matching}
    else:
        problem = f"There is no task {wanted!r} on this machine."
    listed = [f"  {task_id}  {about}" for task_id, about in sorted(tasks.items())]
    raise click.ClickException("\n".join([problem, "There are:" if listed else "There is none at all.", *listed]))


def short_ids(task_ids: list[str]) -> dict[str, str]:
    """As little of each id as still names it, and a dozen characters at least."""
    length = _SHOWN
    while len({task_id[:length] for task_id in task_ids}) < len(set(task_ids)):
        length += 1
    return {task_id: task_id[:length] for task_id in task_ids}
