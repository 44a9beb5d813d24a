"""The session of a machine whose certificate is revoked is ended at once, where AWS IoT can be told to."""

import pytest
from botocore.exceptions import ClientError

from control_plane.gateways.agents import AgentGateway

MACHINE = "0" * 32


class Client:
    """Stands for boto3's iot-data client."""

    def __init__(self, error: str = "") -> None:
        self.ended: list[tuple[str, bool]] = []
        self._error = error

    def delete_connection(self, clientId: str, cleanSession: bool) -> None:  # noqa: N803 - boto3's names
        if self._error:
            raise ClientError({"Error": {"Code": self._error, "Message": "no"}}, "DeleteConnection")
        self.ended.append((clientId, cleanSession))


def test_it_is_ended_and_what_waits_for_it_is_dropped() -> None:
    client = Client()
    AgentGateway(client, "ecs-anywhere").end_session(MACHINE)
    assert client.ended == [(f"ecs-anywhere-{MACHINE}", True)]


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(object(), id="a boto3 that does not know it"),
        pytest.param(Client("ResourceNotFoundException"), id="it is not connected"),
        pytest.param(Client("UnknownOperation"), id="an emulator that does not know it"),
        pytest.param(Client("ThrottlingException"), id="not now: it ends by itself"),
    ],
)
def test_what_does_not_work_is_no_fault(client: object) -> None:
    AgentGateway(client, "ecs-anywhere").end_session(MACHINE)
