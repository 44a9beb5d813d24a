"""The parent of one container's process: outlives the agent and keeps the exit status.

Run as a file by `python -I -S`, in a session of its own; it imports as little as it can, since there is one for each
container. Its order comes over stdin (marshal of a dict, see `_Order` of the process runtime): a keeper whose agent
dies while writing it reads an incomplete one and ends.

    keeper.json  claimed with link(2) before the process is made: who comes second starts nothing
    child.json   the process was made
    exit.json    it has ended, or could not be made; the last thing that a keeper writes

The last two name their keeper: they outlive it until the keeper of the container's next run replaces them.
SIGTERM passes the stop signal on to the whole session, SIGUSR1 kills it.
"""

import errno
import marshal
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
_LEFTOVER_SECONDS = 5.0


def main() -> None:
    order = marshal.loads(sys.stdin.buffer.read())  # the agent's own bytes, over a pipe that only it holds
    by_me = f'"keeper": "{os.getpid()}.{start_time(os.getpid())}"'
    os.chdir(order["directory"])
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    if not _claim(order["boot_id"]):
        _tell("already")
        return
    prctl = subreaper()
    child, failure = _spawn(order, prctl)
    if failure:
        stage, number = failure.split(":")
        _write("exit.json", f'{{{by_me}, "failed": "{stage}", "errno": {number}}}')
        _tell("failed")
        return
    started = f'"pid": {child}, "startTime": {start_time(child)}, "startedAt": {time.time()}'
    _write("child.json", f"{{{by_me}, {started}}}")
    _tell("started")
    code = _wait(child, order["stop_signal"])
    ended = time.time()
    kill_leftovers(child)
    _write("exit.json", f'{{{by_me}, "exitCode": {code}, "finishedAt": {ended}}}')


def start_time(pid: int) -> int:
    """In clock ticks since boot; with the pid and the boot id it names a process for ever. 0: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - pathlib costs a start 10 ms
            return int(stat.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def session_members(session: int) -> list[int]:
    members = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == session:
                    members.append(int(entry))
            except OSError:
                continue
    return members


def signal_session(session: int, number: int) -> None:
    for pid in session_members(session):
        _signal(pid, number)


def _claim(boot_id: str) -> bool:
    me = os.getpid()
    mine = f"keeper.{me}"
    _write(mine, f'{{"pid": {me}, "startTime": {start_time(me)}, "bootId": "{boot_id}"}}')
    try:
        os.link(mine, "keeper.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(mine)  # noqa: PTH108
    return True


def _spawn(order: "dict[str, Any]", prctl: "Callable[[int, int], int]") -> tuple[int, str]:
    def become(enter: "Callable[[str], None]") -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        enter("cgroup")
        enter_cgroups(order["cgroup_procs"])
        enter("log")
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        enter("ulimits")
        _limit(order["ulimits"])
        enter("user")
        if order["user"] is not None:
            become_user(*order["user"])
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        execute(order, enter)

    return spawn(become)


def spawn(become: "Callable[[Callable[[str], None]], None]") -> tuple[int, str]:
    """A child in a session of its own: its pid, and `<stage>:<errno>` if it could not become what it was to be.

    `become` is called in the child, with what it tells of each stage before that begins; it does not return.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        stages = ["start"]
        try:
            os.setsid()
            become(stages.append)
        except BaseException as error:  # whatever it is, only the parent can tell it
            os.write(writing, f"{stages[-1]}:{getattr(error, 'errno', 0) or 0}".encode())
        finally:
            os._exit(127)
    os.close(writing)
    failure = os.read(reading, 100).decode()
    os.close(reading)
    if failure:
        os.waitpid(child, 0)
    return child, failure


def enter_cgroups(procs: "list[str]") -> None:
    for path in procs:
        with open(path, "w") as file:  # noqa: PTH123
            file.write("0")


def become_user(uid: int, gid: int, groups: "list[int]") -> None:
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)


def execute(order: "dict[str, Any]", enter: "Callable[[str], None]") -> None:
    """Become the program, where it is to run and with signals as they were before anybody changed them."""
    enter("workingDirectory")
    os.chdir(order["working_directory"])
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    enter("exec")
    _exec(order["argv"], order["environment"])


def _limit(ulimits: "list[tuple[int, int, int]]") -> None:
    """-1 is no limit, for both."""
    if ulimits:
        import resource  # noqa: PLC0415 - few containers have some

        for number, soft, hard in ulimits:
            try:
                resource.setrlimit(number, (soft, hard))
            except ValueError:  # what Python makes of both errors
                possible = hard == -1 or 0 <= soft <= hard
                raise OSError(errno.EPERM if possible else errno.EINVAL, "") from None


def _exec(argv: "list[str]", environment: "dict[str, str]") -> None:
    """As os.execvpe, which however imports a module: another user may not be able to read this interpreter's."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, environment)
    refused: OSError = FileNotFoundError(errno.ENOENT, "")
    for directory in environment["PATH"].split(":"):
        try:
            os.execve(f"{directory or '.'}/{argv[0]}", argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = error
    raise refused


def _wait(child: int, stop_signal: int) -> int:
    while True:
        received = signal.sigwait(_WATCHED)
        if received == signal.SIGTERM:
            signal_session(child, stop_signal)
        elif received == signal.SIGUSR1:
            signal_session(child, signal.SIGKILL)
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def kill_leftovers(session: int) -> None:
    """With its first process a container ends: what that left behind became our child, or shares its session."""
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in (*_children(), *session_members(session)):
            _signal(pid, signal.SIGKILL)
        time.sleep(0.005)


def _children() -> list[int]:
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children") as children:  # noqa: PTH123
        return [int(pid) for pid in children.read().split()]


def _signal(pid: int, number: int) -> None:
    try:  # noqa: SIM105
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _write(name: str, text: str) -> None:
    """All or nothing, also when the power fails."""
    fresh = f"{name}.{os.getpid()}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, text.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(fresh, name)  # noqa: PTH104


def _tell(word: str) -> None:
    """To the agent, if it still lives; then let go of its pipe."""
    try:  # noqa: SIM105
        os.write(1, word.encode())
    except OSError:
        pass
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)


def subreaper() -> "Callable[[int, int], int]":
    """What the process's descendants leave behind becomes its child. Answers prctl(2)."""
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    return prctl


def _prctl() -> "Callable[[int, int], int]":
    try:
        import ctypes  # noqa: PLC0415 - some minimal interpreters lack it
    except ImportError:
        return lambda *_: -1
    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


if __name__ == "__main__":
    main()
