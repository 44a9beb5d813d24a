"""Opening a connection: Reconcile, register if the control plane wants it, collect the whole list."""

from ecs_anywhere_agent.core.actions import PublishRequest
from ecs_anywhere_agent.core.contact import asks_at, be_connected, lose_connection, note_contact, stand_back
from ecs_anywhere_agent.core.desired import take_list
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import Connected
from ecs_anywhere_agent.core.values import Link
from ecs_protocol.messages import DUPLICATE_IDENTITY, Reconcile, Reconciliation, Refused, RegistrationRequired


def open_link(draft: Draft, event: Connected) -> None:
    draft.drop_expired_memories()
    draft.log("connected")
    draft.change(link=Link(session=event.session, registration=event.registration, publish_gap=draft.rules.publish_gap))
    reconcile(draft)


def close_link(draft: Draft) -> None:
    if draft.link is not None:
        draft.log("disconnected; what runs keeps running")
        lose_connection(draft)
        draft.change(link=None)


def reconcile(draft: Draft) -> None:
    """A new request: no answer to an earlier one counts from now on."""
    request_id = _next_request(draft)
    if draft.link is not None:
        draft.change_link(request_gap=draft.rules.first_gap, refusals=0)
        _send(draft, request_id)


def reconcile_when_due(draft: Draft) -> None:
    link = draft.link
    if link is not None and link.request_due is not None and link.request_due <= draft.now.elapsed:
        draft.change_link(request_gap=min(link.request_gap * 2, draft.rules.longest_gap))
        _send(draft, _next_request(draft))


def reconcile_for_contact(draft: Draft) -> None:
    """A task would be stopped soon for want of contact: the control plane's answer is contact."""
    due = asks_at(draft.state)
    if due is not None and due <= draft.now.elapsed:
        reconcile(draft)


def register(draft: Draft, message: RegistrationRequired) -> None:
    link = draft.link
    if link is None or message.request_id != link.request_id:
        return
    request_id = _next_request(draft)
    draft.change_link(request_due=draft.now.elapsed + link.request_gap)
    draft.do(PublishRequest(link.registration.model_copy(update={"request_id": request_id})))
    draft.log("registering this machine as a container instance")


def refused(draft: Draft, message: Refused) -> None:
    link = draft.link
    draft.log(f"the control plane refused a request: {message.error}: {message.message}")
    if link is not None and message.error == DUPLICATE_IDENTITY and message.request_id.startswith(f"{link.session}-"):
        stand_back(draft)
    if link is None or message.request_id != link.request_id:
        return
    gap = min(draft.rules.first_refusal_gap * 2**link.refusals, draft.rules.longest_refusal_gap)
    draft.change_link(request_due=draft.now.elapsed + gap, refusals=min(link.refusals + 1, 10))


def collect(draft: Draft, page: Reconciliation) -> None:
    """Pages may come in any order, and those of two answers to one request mixed."""
    link = draft.link
    if link is None or page.request_id != link.request_id or page.epoch <= link.request_epoch:
        return
    of_epoch = {**link.pages.get(page.epoch, {}), page.page: page}
    if len(of_epoch) < page.pages:
        draft.change_link(pages={**link.pages, page.epoch: of_epoch})
        return
    note_contact(draft, link.request_began)
    be_connected(draft)
    take_list(draft, (of_epoch[number] for number in sorted(of_epoch)))
    draft.change_link(
        epoch=page.epoch,
        request_epoch=page.epoch,
        request_due=None,
        refusals=0,
        publishing=None,
        pages={epoch: pages for epoch, pages in link.pages.items() if epoch > page.epoch},
    )
    if link.epoch == 0:
        draft.log("reconciled with the control plane")


def _next_request(draft: Draft) -> str:
    link = draft.link
    if link is None:
        return ""
    number = link.requests + 1
    request_id = f"{link.session}-{number}"
    draft.change_link(
        requests=number,
        request_id=request_id,
        request_began=draft.now.elapsed,
        request_version=draft.state.newest_version,
        pages={},
        request_epoch=0,
    )
    return request_id


def _send(draft: Draft, request_id: str) -> None:
    link = draft.link
    if link is not None:
        draft.change_link(request_due=draft.now.elapsed + link.request_gap)
        registration = link.registration
        draft.do(
            PublishRequest(Reconcile(request_id=request_id, digest=registration.digest, boot_id=registration.boot_id))
        )
