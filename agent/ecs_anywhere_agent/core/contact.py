"""Whether the machine is cut off, and since when it has had no contact.

Contact is an exchange that this machine began and that was answered: only that proves that what the other side knows of
us is as new. When it *began* counts: an answer that took long proves no more than it does.
"""

from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import NotConnected
from ecs_anywhere_agent.core.values import State, Task
from ecs_protocol.statuses import DesiredStatus

ASK_AFTER = 2 / 3
"""Of the time that a task may be without contact: asked then, an answer has the last third to come."""


def expect_connection(draft: Draft) -> None:
    """The agent has just started: whether the machine is cut off shows in a while."""
    draft.change(cut_off=False, offline_at=draft.now.elapsed + draft.rules.connection_wait)


def lose_connection(draft: Draft) -> None:
    """One that the control plane had answered over; what had not come about yet is still waited for."""
    if draft.link is not None and draft.link.epoch and not draft.state.duplicate:
        draft.change(cut_off=True, offline_at=None)


def miss_connection(draft: Draft, event: NotConnected) -> None:
    """A machine that booted in 1970 starts its work before its clock is set, and connects after that."""
    if event.clock_unset and draft.state.offline_at is not None:
        _work_without(draft)


def give_up_waiting(draft: Draft) -> None:
    due = draft.state.offline_at
    if due is not None and due <= draft.now.elapsed:
        _work_without(draft)


def _work_without(draft: Draft) -> None:
    draft.log("no connection so far; working without it")
    draft.change(cut_off=True, offline_at=None)


def be_connected(draft: Draft) -> None:
    """The control plane has answered with a whole list: it knows of this machine, which knows what it wants."""
    draft.change(cut_off=False, offline_at=None, rebooted=False, duplicate=False)


def stand_back(draft: Draft) -> None:
    """Another machine uses this one's identity, and what runs there is what should: nothing is begun here."""
    draft.log("another machine uses this machine's identity: nothing is started or stopped until an operator chooses")
    draft.change(duplicate=True, cut_off=False, offline_at=None)


def note_contact(draft: Draft, began: float) -> None:
    if draft.link is not None and began > draft.link.contact:
        draft.change_link(contact=began)


def store_contact(draft: Draft) -> None:
    """Only where a task depends on it: an idle machine writes nothing."""
    link = draft.link
    if link is None or link.contact <= draft.state.contact:
        return
    if any(task.stop_after is not None and not task.stopped for task in draft.tasks()):
        draft.change(contact=link.contact)


def stops_at(state: State, task: Task) -> float | None:
    """When the machine stops the task by itself, unless it has contact before."""
    if state.duplicate or task.stop_after is None or task.orphan is not None or _ends(task):
        return None
    return state.contact + task.stop_after


def asks_at(state: State) -> float | None:
    """When to ask for an answer if nothing else has brought one. The connection's pings do, as a rule."""
    if state.link is None or state.link.request_due is not None:
        return None
    limits = [task.stop_after for task in state.tasks.values() if task.stop_after is not None and not _ends(task)]
    return state.contact + min(limits) * ASK_AFTER if limits else None


def _ends(task: Task) -> bool:
    return task.stopping_at is not None or task.desired is DesiredStatus.STOPPED
