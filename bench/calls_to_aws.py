"""What it costs an agent to call AWS: with the library inside of it, and in a child that ends.

    python bench/calls_to_aws.py

Resident memory in MiB; seconds are medians, against a server on this machine that answers at once.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ecs_anywhere_agent.aws import Aws, AwsCall
from ecs_protocol.messages import RoleCredentials

ROUNDS = 10
INSIDE = """
import resource
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20
before = resident()
import botocore.session
session = botocore.session.Session()
for service in ('ssm', 'secretsmanager', 's3', 'ecr'):
    session.create_client(service, 'us-east-1', aws_access_key_id='a', aws_secret_access_key='b')
print(resident() - before)
"""
SEALING = """
import resource
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20
import ssl
before = resident()
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
AESGCM(HKDF(hashes.SHA256(), 32, None, b'').derive(b'a')).encrypt(bytes(12), b'a', None)
print(resident() - before)
"""


class Parameters(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = json.dumps({"Parameters": [{"Name": "/a", "Value": "1"}], "InvalidParameters": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        pass


def mebibytes(program: str) -> float:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(ran.stdout)


def seconds_in_a_child() -> float:
    credentials = RoleCredentials(
        task_id="a" * 32,
        role="execution",
        role_arn="arn:aws:iam::000000000000:role/execution",
        access_key_id="a",
        secret_access_key="b",
        session_token="c",
        expiration=datetime.now(UTC) + timedelta(hours=1),
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parameters)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    aws, spent = Aws(), []
    for _ in range(ROUNDS):
        began = time.monotonic()
        answers = aws(credentials, [AwsCall("ssm", "get_parameters", "us-east-1", {"Names": ["/a"]})])
        spent.append(time.monotonic() - began)
        assert isinstance(answers[0], dict), answers
    server.shutdown()
    return statistics.median(spent)


if __name__ == "__main__":
    sys.stdout.write(
        f"botocore with four clients, inside the agent: {mebibytes(INSIDE):.1f} MiB\n"
        f"one call in a child: {seconds_in_a_child():.2f} s, nothing kept\n"
        f"the library for sealing, inside the agent: {mebibytes(SEALING):.1f} MiB\n"
    )
