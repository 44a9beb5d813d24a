"""What the agent asks for by name, again and again with growing gaps, until it has it."""

from collections.abc import Iterator

from ecs_anywhere_agent.core.actions import PublishRequest
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.values import Ask, Link
from ecs_protocol.messages import DescribeTasks

_TASK, _DEFINITION = "task/", "definition/"
_MOST_TASKS, _MOST_DEFINITIONS = 500, 100


def ask_for_task(draft: Draft, task_id: str) -> None:
    _ask(draft, f"{_TASK}{task_id}")


def asked_for(link: Link, task_id: str) -> bool:
    """Whether the control plane may not know the task: then it is not to be reported yet."""
    return f"{_TASK}{task_id}" in link.asks


def asks_for_tasks(link: Link) -> bool:
    """Whether it is still open which tasks are orphans."""
    return any(key.startswith(_TASK) for key in link.asks)


def answered(draft: Draft, *, task_id: str | None = None, definition: str | None = None) -> None:
    key = f"{_TASK}{task_id}" if task_id is not None else f"{_DEFINITION}{definition}"
    if draft.link is not None and key in draft.link.asks:
        draft.change_link(asks={other: ask for other, ask in draft.link.asks.items() if other != key})


def ask_for_what_is_missing(draft: Draft) -> None:
    """A task cannot go on without its command and its definition."""
    if draft.link is None:
        return
    for task in draft.tasks():
        if task.planned or task.stopping or task.orphan is not None:
            continue
        if task.command is None and draft.link.epoch:
            ask_for_task(draft, task.task_id)
        if task.task_definition and task.task_definition not in draft.state.task_definitions:
            _ask(draft, f"{_DEFINITION}{task.task_definition}")


def dues(link: Link) -> Iterator[float]:
    """When to ask (again)."""
    return (ask.due for _, ask in _open_asks(link))


def send_what_is_due(draft: Draft) -> None:
    link = draft.link
    if link is None:
        return
    due = [key for key, ask in _open_asks(link) if ask.due <= draft.now.elapsed]
    tasks = [key for key in due if key.startswith(_TASK)][:_MOST_TASKS]
    definitions = [key for key in due if key.startswith(_DEFINITION)][:_MOST_DEFINITIONS]
    if not tasks and not definitions:
        return
    asks = dict(link.asks)
    for key in (*tasks, *definitions):
        gap = asks[key].gap
        asks[key] = Ask(draft.now.elapsed + gap, min(gap * 2, draft.rules.longest_gap))
    number = link.requests + 1
    draft.change_link(asks=asks, requests=number)
    draft.do(
        PublishRequest(
            DescribeTasks(
                request_id=f"{link.session}-{number}",
                task_ids=tuple(key.removeprefix(_TASK) for key in tasks),
                task_definitions=tuple(key.removeprefix(_DEFINITION) for key in definitions),
            )
        )
    )


def _open_asks(link: Link) -> Iterator[tuple[str, Ask]]:
    """About tasks once the whole list is here: it may say that one must not start."""
    return ((key, ask) for key, ask in link.asks.items() if link.epoch or not key.startswith(_TASK))


def _ask(draft: Draft, key: str) -> None:
    if draft.link is not None and key not in draft.link.asks:
        ask = Ask(draft.now.elapsed, draft.rules.first_gap)
        draft.change_link(asks={**draft.link.asks, key: ask})
