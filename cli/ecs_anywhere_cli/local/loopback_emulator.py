"""MiniStack, run so that nothing of it can be reached from another machine: `python -m` this, with the lock's path.

MiniStack takes BIND_HOST for HTTP, but binds its MQTT listener to every address, where clients without a certificate
may publish anything. So listeners are moved to loopback here, and whatever else would listen is refused.
"""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from ecs_anywhere_cli.local.processes import hold

LOOPBACK = "127.0.0.1"
_LOCAL = (LOOPBACK, "::1", "localhost")


def listen_on_loopback_only() -> None:
    """For this process, from now on."""
    create_server = asyncio.BaseEventLoop.create_server

    async def create_loopback_server(
        loop: asyncio.BaseEventLoop, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if options.get("sock") is None:
            host = LOOPBACK
        return await create_server(loop, factory, host, port, **options)

    asyncio.BaseEventLoop.create_server = create_loopback_server  # type: ignore[method-assign, assignment]
    sys.addaudithook(_refuse_other_addresses)


def _refuse_other_addresses(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.bind":
        return
    address = arguments[1]
    if isinstance(address, tuple) and address[0] not in _LOCAL:
        raise PermissionError(f"The local stack listens on loopback only, not on {address[0]!r}")


def main() -> None:
    try:
        hold(Path(sys.argv.pop(1)))
    except BlockingIOError:
        raise SystemExit("The emulator of this state directory runs already") from None
    listen_on_loopback_only()
    from ministack.app import main as run_ministack  # noqa: PLC0415 - after the guard

    with contextlib.suppress(KeyboardInterrupt):
        run_ministack()


if __name__ == "__main__":
    main()
