"""In the place of Fluent Bit and Fluentd, whose images are not here, stands this machine's Python in a container.

It makes the socket where they would, and shows what the Engine sends there.
"""

import os
import sys
from typing import Any

ROUTER = """
import os, socket
print(open(os.environ["CONFIGURATION"]).read(), flush=True)
server = socket.socket(socket.AF_UNIX)
server.bind("/var/run/fluent.sock")
server.listen()
print("uid", os.getuid(), "listens", flush=True)
connection, _ = server.accept()
while received := connection.recv(65536):
    print(received, flush=True)
"""
PYTHON = ("/usr", "/lib", "/lib64", sys.base_prefix)
VOLUMES = [{"name": f"python{number}", "host": {"sourcePath": path}} for number, path in enumerate(PYTHON)]
MOUNTS = [
    {"sourceVolume": f"python{number}", "containerPath": path, "readOnly": True} for number, path in enumerate(PYTHON)
]


def a_router(kind: str, **members: Any) -> dict[str, Any]:
    where = {"fluentbit": "/fluent-bit/etc/fluent-bit.conf", "fluentd": "/fluentd/etc/fluent.conf"}[kind]
    return {
        "name": "log_router",
        "command": [os.path.realpath(sys.executable), "-c", ROUTER],
        "environment": [{"name": "CONFIGURATION", "value": where}],
        "firelensConfiguration": {"type": kind, "options": {"enable-ecs-log-metadata": "true"}},
        "mountPoints": MOUNTS,
        **members,
    }


def an_app(options: dict[str, str]) -> dict[str, Any]:
    command = "echo host=$FLUENT_HOST port=$FLUENT_PORT; echo written; sleep 60"
    return {
        "command": ["sh", "-c", command],
        "logConfiguration": {"logDriver": "awsfirelens", "options": options},
    }
