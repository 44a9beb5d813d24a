"""The parent of a command that an operator runs in a process container; run as a program, by its path.

It makes the command what the container's process is (its user, directory, environment and control group), in a session
of its own, and ends that session when its agent says so or is gone: its only argument is the number of a socket whose
other end the agent holds. stdin, stdout and stderr are the command's: pipes, or a terminal three times.

    in:  the order's length in four bytes, and the order (marshal); then nothing, until it is closed
    out: `failed <stage>:<errno>` or `exited <code>`
"""

import marshal
import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ecs_anywhere_agent.runtime import keeper
else:
    sys.path.append(os.path.dirname(__file__))  # noqa: PTH120 - it is run without any packages
    import keeper

_CONTROL = int(sys.argv[1])
_TIOCSCTTY = 0x540E
_GRACE_SECONDS = 1.0
"""Between asking the command to end and killing it."""


def main() -> None:
    size = int.from_bytes(_receive(4), "big")
    order = marshal.loads(_receive(size))  # the agent's own bytes, over a socket that only it holds
    keeper.subreaper()
    child, failure = _spawn(order)
    if failure:
        _tell(f"failed {failure}")
        return
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(_CONTROL, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if pidfd not in ready:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
            keeper.signal_session(child, number)
        poll.unregister(_CONTROL)
        if not poll.poll(_GRACE_SECONDS * 1000):
            keeper.signal_session(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    keeper.kill_leftovers(child)
    _tell(f"exited {code if code >= 0 else 128 - code}")


def _spawn(order: "dict[str, Any]") -> "tuple[int, str]":
    """As the keeper's, for standard streams that are there already."""

    def become(enter: "Callable[[str], None]") -> None:
        if order["terminal"]:
            import fcntl  # noqa: PLC0415

            fcntl.ioctl(0, _TIOCSCTTY, 0)
        os.close(_CONTROL)
        enter("cgroup")
        keeper.enter_cgroups(order["cgroup_procs"])
        enter("user")
        if order["user"] is not None:
            uid, gid, groups = order["user"]
            for descriptor in (0, 1, 2):
                os.fchown(descriptor, uid, gid)  # /dev/stdout and the like are opened anew
            keeper.become_user(uid, gid, groups)
        keeper.execute(order, enter)

    return keeper.spawn(become)


def _receive(size: int) -> bytes:
    content = b""
    while len(content) < size:
        received = os.read(_CONTROL, size - len(content))
        if not received:
            os._exit(1)  # its agent is gone
        content += received
    return content


def _tell(words: str) -> None:
    try:  # noqa: SIM105
        os.write(_CONTROL, words.encode())
    except OSError:
        pass


if __name__ == "__main__":
    main()
