"""The credentials of tasks' roles: asked for before a task starts, renewed long before they expire, dropped after it.

    a task needs some ──► GetCredentials ──► TaskCredentials ──► it starts ──► half of their life is over ──┐
                            ▲  ▲      │ lost, or refused                                                    │
                            │  └──────┘ after a gap that grows                                              │
                            └───────────────────────────────────────────────────────────────────────────────┘

Only whose they are and until when is known here; the driver holds them. None of it is stored: an agent that has just
started holds none, and asks for all. One request names all that are needed, and those that soon would be.
"""

from collections.abc import Iterator
from dataclasses import replace

from ecs_anywhere_agent.core.actions import DropCredentials, PublishRequest
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import CredentialsReceived
from ecs_anywhere_agent.core.roles import Credentials, RoleRef
from ecs_anywhere_agent.core.values import Ask, Instant, State, Task
from ecs_protocol.messages import MAX_CREDENTIALS_WANTED, CredentialsWanted, GetCredentials

SHORTEST_LIFE, LONGEST_LIFE = 900.0, 3600.0
"""Of what AWS STS gives; an expiration that says otherwise says that this machine's clock is not set.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""
_RENEWED_AFTER, _SPREAD = 0.5, 0.2
"""Of their life: so a machine that is cut off goes on with what it holds for a while."""


def why_waiting(state: State, task: Task, now: Instant) -> str | None:
    """Which credentials keep a task from starting. One that has run goes on without: a restart in place needs none."""
    if task.started_at is not None or task.stopping:
        return None
    for role in task.roles:
        held = state.credentials.get(RoleRef(task.task_id, role.kind))
        if held is None or held.expires_at <= now.elapsed:
            because = f": {held.refusal}" if held is not None and held.refusal else ""
            return f"Waiting for credentials of the {role.kind} role {role.arn}{because}"[:1024]
    return None


def receive(draft: Draft, event: CredentialsReceived) -> None:
    """In answer to whichever request: each answer is made anew."""
    now, rules = draft.now, draft.rules
    known = dict(draft.state.credentials)
    asks = {} if draft.link is None else dict(draft.link.credential_asks)
    for ref, expiration in event.held:
        life = min(max((expiration - now.wall).total_seconds(), SHORTEST_LIFE), LONGEST_LIFE)
        renewed_after = life * (_RENEWED_AFTER + _SPREAD * event.jitter)
        known[ref] = Credentials(now.elapsed + life, now.elapsed + renewed_after)
        asks.pop(ref, None)
    for ref, reason in event.refused:
        before = known.get(ref, Credentials())
        if before.refusal != reason:
            draft.log(f"task {ref.task_id}: no credentials of its {ref.kind} role: {reason}")
        known[ref] = replace(before, refusal=reason)
        if ref in asks:
            gap = max(asks[ref].gap, rules.refused_credentials_gap)
            asks[ref] = Ask(now.elapsed + gap, gap)
    draft.change(credentials=known)
    draft.change_link(credential_asks=asks)


def drop_what_is_over(draft: Draft) -> None:
    """Once the control plane knows of the task's end: till then a lost connection may take it back."""
    known = draft.state.credentials
    over = {task_id for task_id in {ref.task_id for ref in known} if _is_over(draft.task(task_id))}
    if over:
        draft.do(*(DropCredentials(task_id) for task_id in sorted(over)))
        draft.change(credentials={ref: each for ref, each in known.items() if ref.task_id not in over})


def ask_for_what_is_missing(draft: Draft) -> None:
    """One request for all, in as many messages as it takes; what would soon be renewed is asked for along."""
    link, now, rules = draft.link, draft.now.elapsed, draft.rules
    if link is None:
        return
    new = Ask(now, rules.first_credentials_gap)
    asks = {
        ref: link.credential_asks.get(ref, new)
        for ref, held in _needed(draft.state)
        if held is None or held.refusal or held.renew_at <= now
    }
    due = [ref for ref, ask in asks.items() if ask.due <= now]
    for ref in due:
        gap = asks[ref].gap
        asks[ref] = Ask(now + gap, min(gap * 2, rules.longest_credentials_gap))
    if due:
        soon = now + rules.credentials_company
        due += [ref for ref, held in _needed(draft.state) if ref not in asks and held and held.renew_at <= soon]
    number = link.requests
    for start in range(0, len(due), MAX_CREDENTIALS_WANTED):
        number += 1
        wanted = due[start : start + MAX_CREDENTIALS_WANTED]
        draft.do(
            PublishRequest(
                GetCredentials(
                    request_id=f"{link.session}-{number}",
                    wanted=tuple(CredentialsWanted(task_id=ref.task_id, role=ref.kind) for ref in wanted),
                )
            )
        )
    if asks != link.credential_asks:
        draft.change_link(credential_asks=asks, requests=number)


def dues(state: State) -> Iterator[float]:
    """When to ask (again)."""
    if state.link is not None:
        for ref, held in _needed(state):
            if ref in state.link.credential_asks:
                yield state.link.credential_asks[ref].due
            elif held is not None:
                yield held.renew_at


def _needed(state: State) -> Iterator[tuple[RoleRef, Credentials | None]]:
    """The roles of all tasks that are not over, a stopping one's, too."""
    for task in state.tasks.values():
        if task.roles and not task.stopped and task.orphan is None:
            for role in task.roles:
                ref = RoleRef(task.task_id, role.kind)
                yield ref, state.credentials.get(ref)


def _is_over(task: Task | None) -> bool:
    if task is None:
        return True
    return task.stopped and (task.orphan is not None or task.acknowledged_revision >= task.revision)
