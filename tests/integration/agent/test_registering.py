"""`register` against a real HTTP server."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ecs_anywhere_agent.cli import main
from ecs_anywhere_agent.identity import IdentityFiles, identity_files
from ecs_anywhere_agent.registering import RegistrationError, check_endpoint, later, register
from ecs_protocol.messages import ActivateRequest, ActivationRefused, Identity
from ecs_protocol.names import topics
from integration.agent.runtimes import ARN

Answer = tuple[int, str]


class Endpoint:
    """Answers with what `answers` holds, then with an identity for the CSR."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[ActivateRequest] = []
        self.valid_days = 1
        self.retry_after: str | None = None
        """The header of answers that are no identity."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text = endpoint.answer(ActivateRequest.from_json(body))
                self.send_response(status)
                if status == 429 and endpoint.retry_after is not None:
                    self.send_header("Retry-After", endpoint.retry_after)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Not on the tests' output."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/register"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: ActivateRequest) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else (200, self._identity(request.csr).to_json())

    def _identity(self, csr: str) -> Identity:
        signed = x509.load_pem_x509_csr(csr.encode())
        assert signed.is_signature_valid
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(signed.subject)
            .issuer_name(signed.subject)
            .public_key(signed.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=self.valid_days))
            .sign(key, hashes.SHA256())
        )
        return Identity(
            container_instance_id="1" * 32,
            container_instance_arn=ARN,
            cluster="default",
            client_id="test-1",
            certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
            mqtt_endpoint="localhost:8883",
            topics=topics("test", "test-1"),
        )


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


@pytest.fixture
def files(tmp_path: Path) -> IdentityFiles:
    return identity_files(tmp_path)


def invoke(endpoint: Endpoint, tmp_path: Path, activation: str = "a-1") -> Any:
    return CliRunner().invoke(
        main,
        [
            "register",
            f"--registration-endpoint={endpoint.url}",
            f"--activation-id={activation}",
            "--activation-code=secret",
            f"--data-dir={tmp_path}",
            "--output=json",
        ],
    )


def test_the_command_stores_an_identity_and_prints_it(endpoint: Endpoint, tmp_path: Path) -> None:
    result = invoke(endpoint, tmp_path)
    assert json.loads(result.output) == {"containerInstanceArn": ARN, "cluster": "default", "dataDir": str(tmp_path)}
    directory = tmp_path / "identity"
    assert {path.name for path in directory.iterdir()} == {
        "key.pem",
        "certificate.pem",
        "identity.json",
        "fingerprint.json",
    }
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    key = load_pem_private_key((directory / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert "PRIVATE" not in endpoint.requests[0].to_json()


def test_a_machine_that_is_registered_says_so(endpoint: Endpoint, tmp_path: Path) -> None:
    invoke(endpoint, tmp_path)
    again = invoke(endpoint, tmp_path)
    assert again.exit_code == 0
    assert "registered already" in again.output
    assert json.loads(again.output.splitlines()[-1])["containerInstanceArn"] == ARN
    assert len(endpoint.requests) == 1


def test_an_identity_that_has_run_out_is_replaced(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.valid_days = -1
    invoke(endpoint, tmp_path)
    endpoint.valid_days = 1
    assert invoke(endpoint, tmp_path, "a-2").exit_code == 0
    assert len(endpoint.requests) == 2


def test_while_the_endpoint_fails_the_same_request_is_sent_again(endpoint: Endpoint, files: IdentityFiles) -> None:
    endpoint.answers = [(503, "{}")]
    said: list[str] = []
    register(files, endpoint.url, "a-1", "secret", tell=said.append)
    first, second = endpoint.requests
    assert first == second
    assert "HTTP status 503; trying again" in said[0]


def test_a_machine_comes_back_when_it_is_told_to_and_is_not_counted_out(
    endpoint: Endpoint, files: IdentityFiles
) -> None:
    busy = ActivationRefused(error="TooManyRegistrations", message="Many machines register at this moment. Try again.")
    endpoint.answers, endpoint.retry_after = [(429, busy.to_json())] * 3, "0"
    said: list[str] = []
    assert register(files, endpoint.url, "a-1", "secret", tell=said.append, attempts=1)
    assert len(endpoint.requests) == 4
    assert "HTTP status 429: Many machines register at this moment. Try again.; trying again in 0 s" in said[0]


def test_a_machine_that_would_wait_longer_than_an_hour_gives_up(endpoint: Endpoint, files: IdentityFiles) -> None:
    endpoint.answers, endpoint.retry_after = [(429, "{}")], "99999"
    with pytest.raises(RegistrationError, match="run this again"):
        register(files, endpoint.url, "a-1", "secret", tell=lambda _: None)


@pytest.mark.parametrize("word", ["soon", "-1", "1.5"])
def test_a_time_that_is_none_is_not_obeyed(endpoint: Endpoint, files: IdentityFiles, word: str) -> None:
    endpoint.answers, endpoint.retry_after = [(429, "{}")], word
    with pytest.raises(RegistrationError, match="run this again"):
        register(files, endpoint.url, "a-1", "secret", tell=lambda _: None, attempts=1)


def test_machines_that_were_told_the_same_time_spread_ever_wider() -> None:
    def latest(_low: float, high: float) -> float:
        return high

    def earliest(low: float, _high: float) -> float:
        return low

    assert [later(5, refusals, earliest) for refusals in (1, 2, 3)] == [5, 5, 5]
    assert [later(5, refusals, latest) for refusals in (1, 2, 3, 9)] == [15, 25, 45, 305]
    assert later(600, 1, latest) == 1200


def test_after_an_answer_that_was_lost_the_next_command_sends_the_same_request(
    endpoint: Endpoint, files: IdentityFiles
) -> None:
    endpoint.answers = [(500, "")]
    with pytest.raises(RegistrationError, match="run this again"):
        register(files, endpoint.url, "a-1", "secret", tell=lambda _: None, attempts=1)
    register(files, endpoint.url, "a-1", "secret", tell=lambda _: None)
    first, second = endpoint.requests
    assert first == second


def test_a_refusal_is_final_and_says_why(endpoint: Endpoint, tmp_path: Path) -> None:
    refused = ActivationRefused(error="InvalidActivation", message="The activation has expired.")
    endpoint.answers = [(403, refused.to_json())]
    result = invoke(endpoint, tmp_path)
    assert result.exit_code == 1
    assert "InvalidActivation: The activation has expired." in result.output
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("url", ["http://example.com/register", "ftp://localhost/x", "example.com"])
def test_the_code_does_not_cross_a_network_in_clear(url: str) -> None:
    with pytest.raises(RegistrationError, match="must be https"):
        check_endpoint(url)


@pytest.mark.parametrize("url", ["https://example.com/x", "http://localhost:4566/x", "http://[::1]:1/x"])
def test_where_it_may_go(url: str) -> None:
    check_endpoint(url)
