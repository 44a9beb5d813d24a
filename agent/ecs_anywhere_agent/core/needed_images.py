"""Which images the tasks of this machine need, whoever could pull them again: the machine may be cut off."""

from ecs_anywhere_agent.core.values import State


def needed_images(state: State) -> frozenset[str]:
    """By their names in task definitions, of every task that has not stopped.

    A task that is adopted without its definition has containers, which hold their images.
    """
    return frozenset(
        container["image"]
        for task in state.tasks.values()
        if not task.stopped
        for container in state.task_definitions.get(task.task_definition, {}).get("containerDefinitions", ())
        if "image" in container
    )
