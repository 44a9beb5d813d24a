"""One event in, a new state and what to do out."""

from collections.abc import Iterator
from dataclasses import replace

from ecs_anywhere_agent.core import asking, contact, credentials, desired, observation, orphans, reconciling, reporting
from ecs_anywhere_agent.core.actions import Action
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import (
    ActionFailed,
    AgentStarted,
    Connected,
    ContactProved,
    ContainerChanged,
    CredentialsReceived,
    Disconnected,
    DiskNearlyFull,
    Event,
    ImagePulled,
    InventoryTaken,
    MessageReceived,
    NotConnected,
    Observation,
    ReportAcknowledged,
    StopAsked,
    TimerFired,
)
from ecs_anywhere_agent.core.lifecycle import advance, dues, is_due, other_circumstances
from ecs_anywhere_agent.core.values import Instant, Orphan, Rules, State, update
from ecs_protocol.messages import (
    ControlPlaneMessage,
    OrphansNoted,
    Probe,
    Reconciliation,
    Refused,
    RegistrationRequired,
    TaskCommands,
)

RULES = Rules()


def step(state: State, event: Event, now: Instant, rules: Rules = RULES) -> tuple[State, tuple[Action, ...]]:
    """Take in one event.

    Store the state before doing the actions; the order of the actions matters only between those of one container.
    An action that was stored and not done is given again after AgentStarted and InventoryTaken.
    """
    draft = Draft(state, now, rules)
    _take_in(draft, event)
    contact.give_up_waiting(draft)
    contact.store_contact(draft)
    reconciling.reconcile_when_due(draft)
    reconciling.reconcile_for_contact(draft)
    reporting.publish_again_when_due(draft)
    all_tasks = isinstance(event, InventoryTaken) or other_circumstances(state, draft.state)
    for task in draft.tasks():
        if isinstance(event, AgentStarted):
            break  # the inventory comes next: nothing is done by a state that may be older than the machine
        if all_tasks or state.tasks.get(task.task_id) is not task or is_due(draft, task):
            advance(draft, task)
    asking.ask_for_what_is_missing(draft)
    asking.send_what_is_due(draft)
    credentials.ask_for_what_is_missing(draft)
    orphans.tell(draft)
    reporting.publish(draft)
    credentials.drop_what_is_over(draft)
    return draft.state, tuple(draft.actions)


def next_due(state: State) -> float | None:
    """When TimerFired is wanted, on the clock of Instant.elapsed; None: an event must come first."""
    of_tasks = (due for task in state.tasks.values() for due in dues(state, task))
    of_link = (*_link_dues(state), *credentials.dues(state))
    all_dues = (state.offline_at, contact.asks_at(state), reporting.company_due(state), *of_tasks, *of_link)
    return min((due for due in all_dues if due is not None), default=None)


def _link_dues(state: State) -> Iterator[float | None]:
    if state.link is not None:
        yield state.link.request_due
        yield state.link.orphans_due
        yield None if state.link.publishing is None else state.link.publishing.due
        yield from asking.dues(state.link)


def _take_in(draft: Draft, event: Event) -> None:
    match event:
        case AgentStarted():
            _start(draft, event)
        case InventoryTaken() | ContainerChanged() | ImagePulled() | ActionFailed():
            _take_in_observation(draft, event)
        case Connected() | Disconnected() | NotConnected() | ContactProved():
            _take_in_contact(draft, event)
        case MessageReceived():
            _take_in_message(draft, event.message)
        case ReportAcknowledged():
            reporting.acknowledge(draft, event.token)
        case StopAsked():
            desired.stop_here(draft, event.task_id)
        case CredentialsReceived():
            credentials.receive(draft, event)
        case DiskNearlyFull():
            _keep_no_longer(draft)
        case TimerFired():
            pass


def _take_in_contact(draft: Draft, event: Connected | Disconnected | NotConnected | ContactProved) -> None:
    match event:
        case Connected():
            reconciling.open_link(draft, event)
        case Disconnected():
            reconciling.close_link(draft)
        case NotConnected():
            contact.miss_connection(draft, event)
        case ContactProved():
            contact.note_contact(draft, event.began)


def _take_in_observation(draft: Draft, event: Observation) -> None:
    match event:
        case InventoryTaken():
            observation.take_inventory(draft, event.containers)
        case ContainerChanged():
            observation.see(draft, event.snapshot)
        case ImagePulled():
            observation.pulled(draft, event)
        case ActionFailed():
            observation.failed(draft, event)


def _take_in_message(draft: Draft, message: ControlPlaneMessage) -> None:
    match message:
        case RegistrationRequired():
            reconciling.register(draft, message)
        case Reconciliation():
            reconciling.collect(draft, message)
        case TaskCommands():
            desired.obey(draft, message)
        case OrphansNoted():
            orphans.noted(draft, message)
        case Probe():
            reconciling.reconcile(draft)
        case Refused():
            reconciling.refused(draft, message)


def _keep_no_longer(draft: Draft) -> None:
    """The containers of stopped tasks, which are not needed for anything that should run."""
    for task in draft.tasks():
        if task.stopped and not task.removed and task.forget_at is not None:
            draft.put(update(task, forget_at=min(task.forget_at, draft.now.elapsed)))


def _start(draft: Draft, event: AgentStarted) -> None:
    """Under a new identity nobody in the cloud answers for what an earlier one started: it is kept, as orphans."""
    draft.change(link=None, credentials={}, rebooted=draft.state.rebooted or event.rebooted)
    contact.expect_connection(draft)
    draft.drop_expired_memories()
    known = draft.state.container_instance_arn
    if known == event.container_instance_arn:
        return
    draft.change(container_instance_arn=event.container_instance_arn, list_version=0, newest_version=0)
    for task in draft.tasks():
        draft.put(
            replace(
                task,
                command_version=0,
                acknowledged_report=(0, 0),
                acknowledged_revision=0,
                listed=False,
                orphan=Orphan.EARLIER_IDENTITY if known else task.orphan,
            )
        )
