"""Starts MiniStack with every listener on the loopback interface.

BIND_HOST moves its HTTP listener only; the MQTT listener asks for 0.0.0.0, where a client without a certificate is let
in. What asks for all interfaces gets 127.0.0.1 here.
"""

import asyncio
import runpy
from typing import Any

_create_server = asyncio.base_events.BaseEventLoop.create_server


async def _on_loopback(self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
    if options.get("sock") is None and host in {None, "", "0.0.0.0", "::"}:
        host = "127.0.0.1"
    return await _create_server(self, protocol_factory, host, port, **options)


asyncio.base_events.BaseEventLoop.create_server = _on_loopback  # type: ignore[method-assign]
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
