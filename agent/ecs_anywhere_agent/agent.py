"""The event loop: takes events from all drivers, one after the other, and carries out what the core decides."""

import logging
import queue
import random
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta

from ecs_anywhere_agent.clock import Clock
from ecs_anywhere_agent.connection import Contact
from ecs_anywhere_agent.core import Rules, State, next_due, step
from ecs_anywhere_agent.core.actions import Action, DropCredentials, Log, PublishReports, PublishRequest
from ecs_anywhere_agent.core.events import (
    AgentStarted,
    Event,
    InventoryTaken,
    MessageReceived,
    TimerFired,
)
from ecs_anywhere_agent.core.values import Instant, Task
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.interface import Runtime
from ecs_anywhere_agent.store import Store
from ecs_protocol.messages import AgentRequest, HostPort, TaskCredentials, TaskStateChanges

_log = logging.getLogger("ecs_anywhere_agent")

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0


class Agent:
    """Serialises `step`: events may come from any thread, everything else happens on the thread that calls `run`."""

    def __init__(
        self, store: Store, runtime: Runtime, rules: Rules, credentials: HeldCredentials | None = None
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._rules = rules
        self._credentials = credentials or HeldCredentials()
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        # Queues, since one may be put to while a signal interrupts the very wait for it, which a lock would not bear.
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._problem: str | None = None
        self._state, last = store.load()
        self._clock = Clock(last)
        self.started = self._clock.now().elapsed
        """On the clock of Instant.elapsed."""
        self._contact = Contact(self.started)
        self._request: Callable[[AgentRequest], None] = lambda _: None
        self._report: Callable[[int, TaskStateChanges], None] = lambda _token, _message: None

    @property
    def state(self) -> State:
        """The newest state; any thread may read it."""
        return self._state

    def task(self, task_id: str) -> Task | None:
        """As it is now; any thread may ask."""
        return self._state.tasks.get(task_id)

    @property
    def contact(self) -> Contact:
        """What is known of the connection; any thread may read it."""
        return self._contact

    @property
    def problem(self) -> str | None:
        """Why nothing is done, for whoever asks on the machine."""
        return self._problem

    def now(self) -> Instant:
        """On the agent's clocks; any thread may ask."""
        return self._clock.now()

    def cut_off_since(self) -> datetime | None:
        """On the wall clock as it goes now; None: connected. Any thread may ask."""
        contact, now = self._contact, self.now()
        return None if contact.connected else now.wall - timedelta(seconds=now.elapsed - contact.since)

    def own_ports(self) -> frozenset[HostPort]:
        return self._state.host_ports()

    def emit(self, event: Event) -> None:
        match event:
            case MessageReceived(message=TaskCredentials() as received):
                # They stay out of the state, which is stored, and out of whatever is logged.
                self._events.put(self._credentials.receive(received, random.random()))
            case _:
                self._events.put(event)

    def end(self) -> None:
        """Make `run` return; what runs keeps running. May be called from a signal handler."""
        self._end.put(None)
        self._events.put(None)

    def start(self, container_instance_arn: str) -> None:
        """Adopt what runs, before anything else is heard. Raises RuntimeUnavailableError."""
        inventory = self._runtime.open(self.emit)
        self._take(AgentStarted(container_instance_arn, self._clock.rebooted))
        self._take(InventoryTaken(inventory))

    def publish_with(
        self, request: Callable[[AgentRequest], None], report: Callable[[int, TaskStateChanges], None]
    ) -> None:
        self._request, self._report = request, report

    def run(self) -> None:
        """Until `end`."""
        while True:
            due = next_due(self._state)
            timeout = None if due is None else max(due - self._clock.now().elapsed, 0.0)
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                event = TimerFired()
            if event is None:
                return
            self._take(event)

    def _take(self, event: Event) -> None:
        now = self._clock.now()
        state, actions = step(self._state, event, now, self._rules)
        if not self._save(state, now):
            return
        self._state = state
        self._contact = self._contact.after(event, now.elapsed)
        for action in actions:
            self._carry_out(action)

    def _save(self, state: State, now: Instant) -> bool:
        """Nothing is done that is not stored: where the disk is full, all waits until it is not. False: until `end`."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                self._store.save(self._state, state, self._clock.reading(now))
            except sqlite3.OperationalError as error:
                if self._problem is None:
                    _log.error("cannot store what happens (%s): nothing is begun or ended until that works", error)
                self._problem = f"cannot store its state: {error}"
                try:
                    self._end.get(timeout=wait)
                except queue.Empty:
                    wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                    continue
                self._end.put(None)
                return False
            if self._problem is not None:
                _log.info("can store again what happens")
                self._problem = None
            return True

    def _carry_out(self, action: Action) -> None:
        match action:
            case PublishRequest():
                self._request(action.message)
            case PublishReports():
                self._report(action.token, action.message)
            case DropCredentials():
                self._credentials.drop(action.task_id)
            case Log():
                _log.info("%s", action.text)
            case _:
                self._runtime.perform(action)
