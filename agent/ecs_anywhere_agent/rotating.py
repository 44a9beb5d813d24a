"""Replaces the machine's certificate while it runs, over the connection that it has.

    it ends soon, or RotationRequired ──► a new key ──► RotateCertificate ──► CertificateIssued ──► connect with it
      ──► the control plane has answered ──► the new key and certificate take the place of the old ones

Each step is on disk before the next one, so that it goes on after any end of the agent. Until the control plane has
answered on a connection with the new certificate the old one is kept, and the two are tried in turn: whatever is
refused, for whatever reason, this machine goes on trying, and its tasks run on.
"""

import hashlib
import logging
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ecs_anywhere_agent.identity import IdentityFiles, validity, write_private
from ecs_anywhere_agent.sealing import replace_identity
from ecs_protocol.messages import (
    CertificateIssued,
    ControlPlaneMessage,
    Reconciliation,
    RotateCertificate,
    RotationRequired,
)

_log = logging.getLogger(__name__)

BEFORE_ITS_END = timedelta(days=30)
"""Or a third of its life, if that is shorter."""
_FIRST_GAP, _LONGEST_GAP = 60.0, 6 * 3600.0
"""Between two requests that are not answered, in seconds."""
_MAKING_SECONDS = 30.0

MakeContext = Callable[[IdentityFiles], ssl.SSLContext]


class Rotation:
    """Which certificate the next connection shows, and how it gets another one. Used by one thread at a time."""

    def __init__(
        self,
        files: IdentityFiles,
        make_context: MakeContext,
        *,
        elapsed: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = files
        self._make_context = make_context
        self._elapsed = elapsed
        self._now = now
        self._valid = self._validity()
        self._current: ssl.SSLContext | None = None
        self._shows_next = False
        self._connected = True
        self._try_at = 0.0
        """When the new certificate is next tried, though the old one connects."""
        self._try_gap = _FIRST_GAP
        self._asked_at: float | None = None
        self._ask_gap = _FIRST_GAP

    def context(self) -> ssl.SSLContext:
        """For the next connection. While there is a new certificate and neither connects, each is tried in turn."""
        if self._shows_next:
            self._try_at = self._elapsed() + self._try_gap
            self._try_gap = min(self._try_gap * 2, _LONGEST_GAP)
            show_next = False
        else:
            show_next = self._waiting() and (self._elapsed() >= self._try_at or not self._connected)
        self._shows_next, self._connected = show_next, False
        if show_next:
            try:
                return self._make_context(self._files.next)
            except OSError as error:  # ssl.SSLError is one
                _log.warning("cannot use the new certificate: %s", error)
                self._files.next.forget()
                self._shows_next = False
        if self._current is None:
            self._current = self._make_context(self._files)
        return self._current

    def connected(self) -> None:
        """The broker has taken the connection that was made with the last context."""
        self._connected = True

    @property
    def reconnect(self) -> bool:
        """There is a new certificate, and it is time to try it instead of the one that is shown."""
        return self._waiting() and not self._shows_next and self._elapsed() >= self._try_at

    def due(self) -> RotateCertificate | None:
        """What to ask for now, if anything: to be called now and then while there is a connection.

        Raises OSError if the disk does not let us.
        """
        begin, end = self._valid
        ends_soon = self._now() > end - min(BEFORE_ITS_END, (end - begin) / 3)
        begun = self._files.next.request.exists()
        if self._waiting() or not (ends_soon or begun):
            return None
        if self._asked_at is not None:
            if self._elapsed() < self._asked_at + self._ask_gap:
                return None
            self._ask_gap = min(self._ask_gap * 2, _LONGEST_GAP)
        return self._request()

    def heard(self, message: ControlPlaneMessage) -> RotateCertificate | None:
        """What to ask for after a message, if anything. Raises OSError if the disk does not let us."""
        match message:
            case RotationRequired():
                return None if self._waiting() else self._request()
            case CertificateIssued():
                self._take(message)
            case Reconciliation() if self._shows_next:
                self._replace()
            case _:
                pass
        return None

    def _waiting(self) -> bool:
        """There is a new certificate that has not proved itself."""
        return self._files.next.certificate.exists()

    def _request(self) -> RotateCertificate | None:
        """Always for the same key, until it has its certificate."""
        following = self._files.next
        if not (following.key.exists() and following.request.exists()):
            following.prepare()
            command = [sys.executable, "-m", "ecs_anywhere_agent.new_key", str(following.directory)]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=_MAKING_SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                _log.warning("cannot make a new key: %s", error)
                return None
        self._asked_at = self._elapsed()
        csr = following.request.read_text()
        _log.info("asking for a new certificate")
        return RotateCertificate(request_id=_request_id(csr), csr=csr)

    def _take(self, issued: CertificateIssued) -> None:
        following = self._files.next
        if following.certificate.exists() or not following.request.exists():
            return
        if issued.request_id != _request_id(following.request.read_text()):
            return
        write_private(following.certificate, issued.certificate_pem)
        try:
            self._make_context(following)
            validity(issued.certificate_pem)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            _log.warning("the new certificate is not for the new key: %s", error)
            following.certificate.unlink()
            return
        self._try_at, self._try_gap = self._elapsed(), _FIRST_GAP
        _log.info("there is a new certificate: connecting with it")

    def _validity(self) -> tuple[datetime, datetime]:
        """For ever, if it cannot be read: then it is replaced when somebody says so."""
        try:
            return validity(self._files.certificate.read_text())
        except ValueError as error:
            _log.warning("cannot read until when the certificate is valid: %s", error)
            return self._now(), datetime.max.replace(tzinfo=UTC)

    def _replace(self) -> None:
        replace_identity(self._files)
        self._valid = self._validity()
        self._current, self._shows_next = None, False
        self._asked_at, self._ask_gap = None, _FIRST_GAP
        _log.info("the certificate is replaced; the new one ends %s", self._valid[1].date())


def _request_id(csr: str) -> str:
    """Of the request itself, so that an answer is recognised after the agent has started anew."""
    return hashlib.sha256(csr.encode()).hexdigest()[:32]
