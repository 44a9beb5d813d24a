"""Who signs: the administrator, and keys of the table, through unmodified boto3 clients and the function's handler."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from functions.api_ecs import app

from control_plane.flows.log_in import log_in
from control_plane.flows.operate import operate
from control_plane.store.principals import KEPT
from unit.api.clients import ecs_client
from world import World


class Context:
    function_name = "api_ecs"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:api_ecs"
    aws_request_id = "invocation-1"


@pytest.fixture(autouse=True)
def control_plane(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The function over the test's world, whose time is what botocore signs with."""
    world.now = datetime.now(UTC)
    monkeypatch.setattr(app, "control_plane", lambda: world.cp)
    world.cluster()
    return world


def client(key: dict[str, str], **options: Any) -> Any:
    def answer(event: dict[str, Any]) -> dict[str, Any]:
        answered: dict[str, Any] = app.handler(event, Context())
        return answered

    return ecs_client(answer, key_id=key["accessKeyId"], secret=key["secretAccessKey"], **options)


def key_of(world: World, principal: str = "ci", *actions: str) -> dict[str, str]:
    """A key whose principal may do these."""
    if actions:
        document = {"Statement": {"Effect": "Allow", "Action": list(actions), "Resource": "*"}}
        operate(world.cp, {"operation": "PutPolicy", "principal": principal, "name": "p", "document": document})
    made: dict[str, str] = operate(world.cp, {"operation": "CreateKey", "principal": principal})
    return made


def code(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    name: str = raised.value.response["Error"]["Code"]
    return name


def test_the_administrator_needs_no_policy() -> None:
    administrator = client({"accessKeyId": "ADMINISTRATOR", "secretAccessKey": "secret"})
    assert len(administrator.list_clusters()["clusterArns"]) == 1


def test_a_key_signs_and_its_policy_says_for_what(world: World) -> None:
    ci = client(key_of(world, "ci", "ecs:ListClusters"))
    assert len(ci.list_clusters()["clusterArns"]) == 1
    assert code(ci.list_tasks) == "AccessDeniedException"
    assert code(client(key_of(world, "nobody")).list_clusters) == "AccessDeniedException"


def test_a_refusal_is_in_amazons_words(world: World) -> None:
    with pytest.raises(ClientError) as raised:
        client(key_of(world)).list_tasks()
    assert str(raised.value) == (
        "An error occurred (AccessDeniedException) when calling the ListTasks operation: User: "
        "arn:aws:iam::123456789012:user/ecs-anywhere/ci is not authorized to perform: ecs:ListTasks on resource: "
        "arn:aws:ecs:eu-west-1:123456789012:cluster/default because no identity-based policy allows the "
        "ecs:ListTasks action"
    )


def test_a_revoked_key_signs_nothing_after_a_moment(world: World) -> None:
    key = key_of(world, "ci", "ecs:*")
    ci = client(key)
    ci.list_clusters()
    operate(world.cp, {"operation": "RevokeKey", "accessKeyId": key["accessKeyId"]})
    world.now += KEPT
    assert code(ci.list_clusters) == "UnrecognizedClientException"
    assert code(ci.list_clusters) == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        pytest.param({"secretAccessKey": "guessed"}, "InvalidSignatureException", id="another-secret"),
        pytest.param({"accessKeyId": f"ECSA{'0' * 32}"}, "UnrecognizedClientException", id="no-such-key"),
        pytest.param({"accessKeyId": "AKIA"}, "UnrecognizedClientException", id="an-id-of-another-kind"),
    ],
)
def test_what_is_no_key_signs_nothing(world: World, change: dict[str, str], refused: str) -> None:
    assert code(client({**key_of(world, "ci", "ecs:*"), **change}).list_clusters) == refused


def test_a_key_comes_without_a_session_token(world: World) -> None:
    assert code(client(key_of(world, "ci", "ecs:*"), token="t").list_clusters) == "UnrecognizedClientException"


def test_a_key_outlives_one_new_signing_key_and_not_two(world: World) -> None:
    ci = client(key_of(world, "ci", "ecs:*"))
    for signing_key in ("second", "third"):
        ci.list_clusters()
        world.secrets.versions["signing"].append({"signingKey": signing_key})
        world.cp = world.function()
    assert code(ci.list_clusters) == "UnrecognizedClientException"


def test_a_request_costs_two_reads_of_the_table_now_and_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    for name in ("get", "query"):
        real = getattr(world.table, name)

        def counted(key: Any, *rest: Any, real: Any = real, **options: Any) -> Any:
            reads.append(str(getattr(key, "pk", key)).partition("#")[0])
            return real(key, *rest, **options)

        monkeypatch.setattr(world.table, name, counted)
    ci = client(key_of(world, "ci", "ecs:*"))
    reads.clear()
    for _ in range(5):
        ci.list_account_settings()
    assert [each for each in reads if each != "SETTINGS"] == ["KEYS", "POLICIES"]


# --- IAM identities


ROLE = "arn:aws:sts::123456789012:assumed-role/Deployer/alice"


def session(world: World, *, administrator: bool = False, duration: str | None = None, arn: str = ROLE) -> Any:
    """A client with what an IAM identity was given."""
    key = log_in(world.cp, arn, duration, administrator=administrator)
    return client(
        {"accessKeyId": key["AccessKeyId"], "secretAccessKey": key["SecretAccessKey"]}, token=key["SessionToken"]
    )


def test_an_identity_may_what_the_policy_of_its_role_says(world: World) -> None:
    with pytest.raises(ClientError) as raised:
        session(world).list_clusters()
    assert f"User: {ROLE} is not authorized to perform: ecs:ListClusters" in str(raised.value)
    world.allow("iam/role/Deployer", "ecs:ListClusters")
    world.cp = world.function()
    assert len(session(world).list_clusters()["clusterArns"]) == 1
    assert code(session(world).list_tasks) == "AccessDeniedException"
    assert code(session(world, arn=ROLE.replace("Deployer", "Other")).list_clusters) == "AccessDeniedException"


def test_an_administrator_may_everything_but_speak_for_a_machine(world: World) -> None:
    administrator = session(world, administrator=True)
    assert administrator.list_tasks()["taskArns"] == []
    assert code(administrator.discover_poll_endpoint) == "AccessDeniedException"


def test_a_session_ends(world: World) -> None:
    world.now -= timedelta(seconds=30)  # requests are signed by the real clock, and must be within its tolerance
    short = session(world, administrator=True, duration="900")
    short.list_clusters()
    world.now += timedelta(minutes=14)
    short.list_clusters()
    ended = session(world, administrator=True, duration="900")
    world.now += timedelta(minutes=1)
    assert code(short.list_clusters) == "ExpiredTokenException"
    ended.list_clusters()


def test_a_session_costs_no_read_of_the_table_but_of_policies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []
    monkeypatch.setattr(world.table, "get", lambda key, **_options: reads.append(key))
    session(world, administrator=True).list_account_settings()
    assert reads == []


@pytest.mark.parametrize("lost", ["token", "id", "secret"])
def test_the_three_parts_of_a_session_go_together(world: World, lost: str) -> None:
    mine, other = (log_in(world.cp, ROLE, None, administrator=True) for _ in range(2))
    parts = {"token": "SessionToken", "id": "AccessKeyId", "secret": "SecretAccessKey"}
    mixed = {**mine, parts[lost]: other[parts[lost]]}
    key = {"accessKeyId": mixed["AccessKeyId"], "secretAccessKey": mixed["SecretAccessKey"]}
    refusal = code(client(key, token=mixed["SessionToken"]).list_clusters)
    assert refusal == ("InvalidSignatureException" if lost == "secret" else "UnrecognizedClientException")


def test_a_session_is_nothing_without_its_token(world: World) -> None:
    key = log_in(world.cp, ROLE, None, administrator=True)
    bare = {"accessKeyId": key["AccessKeyId"], "secretAccessKey": key["SecretAccessKey"]}
    assert code(client(bare).list_clusters) == "UnrecognizedClientException"
    assert code(client(bare, token="x.y").list_clusters) == "UnrecognizedClientException"


@pytest.mark.parametrize("signing_keys", [1, 2])
def test_a_session_outlives_one_new_signing_key_and_not_two(world: World, signing_keys: int) -> None:
    administrator = session(world, administrator=True)
    world.secrets.versions["signing"] += [{"signingKey": f"new {number}"} for number in range(signing_keys)]
    world.cp = world.function()
    if signing_keys == 1:
        administrator.list_clusters()
    else:
        assert code(administrator.list_clusters) == "UnrecognizedClientException"


def test_who_asked_is_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    key = key_of(world)
    code(client(key).list_clusters)
    [line] = [vars(record) for record in caplog.records if record.message == "Request"]
    told = (line["principal"], line["accessKeyId"], line["error"])
    assert told == ("ci", key["accessKeyId"], "AccessDeniedException")
    assert key["secretAccessKey"] not in json.dumps([str(vars(record)) for record in caplog.records])
