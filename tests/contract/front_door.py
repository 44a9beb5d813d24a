"""The function behind the API, whose table is as it was before each case, and what is wrong with its answers."""

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.parsers import create_parser
from functions.api_ecs import app
from moto.dynamodb.models import dynamodb_backends

from contract.any_request import (
    ACCOUNT,
    INSTANCE,
    PREFIX,
    REFUSED_OPERATIONS,
    REVISION,
    STOPPED,
    TASK,
    TASK_SET,
    Request,
)
from control_plane import runtime
from control_plane.domain.access_key import AccessKey, new_access_key_id, secret_of
from control_plane.domain.authorization import AgentOf
from control_plane.domain.service_deployment import revision_of
from control_plane.gateways.ecs_model import service_model
from control_plane.store import access_keys, keys
from ecs_protocol.statuses import TaskStatus
from unit.api.clients import ENDPOINT, KEY_ID, REGION, SECRET, http_api_event
from world import World

TABLE = "front-door"
OF_EVERY_API = {
    "UnknownOperationException": 400,
    "SerializationException": 400,
    "RequestEntityTooLargeException": 413,
    "AccessDeniedException": 400,
}
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html

And https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""
CONTEXT = SimpleNamespace(
    function_name="api_ecs",
    memory_limit_in_mb=256,
    invoked_function_arn=f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:api_ecs",
    aws_request_id="invocation",
)


ADMINISTRATORS_KEY = Credentials(KEY_ID, SECRET)


class FrontDoor:
    """Answers requests, and says what is wrong with the answers."""

    def __init__(self, client: Any) -> None:
        world = World(client, table_name=TABLE)
        self._ids = inhabit(world)
        runtime.control_plane().registry = world.registry  # type: ignore[assignment]
        runtime.control_plane().signing_keys = world.cp.signing_keys
        self._agents_key = agents_key(world, self._ids[INSTANCE])
        self._before = self._table().items
        self.answered: Counter[int] = Counter()
        """How many requests there were, by the status of the answer."""

    def faults(self, requests: Sequence[Request]) -> list[str]:
        """Of a case: its requests one after another. Afterwards everything is as it was."""
        control_plane = runtime.control_plane()
        for remembered in ("definitions", "identities", "fleet"):
            vars(control_plane).pop(remembered, None)
        found: list[str] = []
        for request in requests:
            before = self._table().items
            self._table().items = copy.deepcopy(before)
            key = self._agents_key if request.operation in app.AGENT_OPERATIONS else ADMINISTRATORS_KEY
            status, body = answer(self._with_real_ids(request), key)
            self.answered[status] += 1
            found += [f"{request}: {fault}" for fault in faults_of(request, status, body)]
            if status != 200 and _held(self._table().items) != _held(before):
                found.append(f"{request}: was refused, and has changed the table")
        self._table().items = self._before
        return found

    def _table(self) -> Any:
        """To read by a scan what moto holds takes longer than all that a request does. A transaction that fails has
        moto go back to a copy of all its tables."""
        return dynamodb_backends[ACCOUNT][REGION].tables[TABLE]

    def _with_real_ids(self, request: Request) -> Request:
        body = request.body
        for placeholder, real in self._ids.items():
            body = body.replace(placeholder.encode(), real.encode())
        return Request(request.target, body)


def _held(items: Mapping[Any, Any]) -> dict[str, Any]:
    """What somebody could find. To look for something makes an empty partition of moto's; and a reminder, which is
    stored before what it watches over, only has the sweeper look."""
    reminders = set(keys.reminder_partitions())
    return {partition.value: held for partition, held in items.items() if held and partition.value not in reminders}


@contextmanager
def front_door() -> Iterator[FrontDoor]:
    """On a moto that has been started: the environment of the function, a table, and the key in Secrets Manager."""
    secret = boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name="front-door", SecretString=json.dumps({"accessKeyId": KEY_ID, "secretAccessKey": SECRET})
    )
    variables = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "ACCOUNT_ID": ACCOUNT,
        "TABLE_NAME": TABLE,
        "ADMINISTRATOR_KEY_SECRET_ARN": secret["ARN"],
    }
    with mock.patch.dict("os.environ", variables):
        runtime.control_plane.cache_clear()
        try:
            yield FrontDoor(boto3.client("dynamodb", region_name=REGION))
        finally:
            runtime.control_plane.cache_clear()


def inhabit(world: World) -> dict[str, str]:
    """One of each thing that requests speak of (NAMED in any_request.py).

    Answers which ids stand for which real ones.
    """
    world.now = datetime.now(UTC)
    for name in ("default", "spare", "closed"):
        world.cluster(name)
    do("DeleteCluster", world, cluster="closed")
    instance = world.machine(cpu=100_000, memory=100_000, attributes={"site": "berlin"})
    rack = {"name": "rack", "targetType": "container-instance", "targetId": instance}
    do("PutAttributes", world, attributes=[rack])
    for family in ("web", "web", "old"):
        world.task_definition(family)
    do("DeregisterTaskDefinition", world, taskDefinition="old:1")
    container = {"name": "main", "image": "busybox", "memory": 64}
    tags = [{"key": "ecs-anywhere:external-network-mode", "value": "host"}]
    both = {"networkMode": "awsvpc", "cpu": "256", "memory": "512", "containerDefinitions": [container], "tags": tags}
    do("RegisterTaskDefinition", world, family="both", **both)
    svc = do("CreateService", world, serviceName="svc", taskDefinition="web", desiredCount=2)["service"]
    do("CreateService", world, serviceName="sets", deploymentController={"type": "EXTERNAL"}, desiredCount=1)
    of_sets = {"cluster": "default", "service": "sets", "taskDefinition": "web"}
    task_set = do("CreateTaskSet", world, **of_sets, scale={"value": 100.0})["taskSet"]["id"]
    do("CreateService", world, serviceName="other", taskDefinition="web:1", desiredCount=0)
    world.deliver()
    [running, stopped] = do("RunTask", world, taskDefinition="web", count=2, clientToken="used")["tasks"]
    ids = {TASK: running["taskArn"].rsplit("/", 1)[1], STOPPED: stopped["taskArn"].rsplit("/", 1)[1]}
    world.report(world.report_of(ids[STOPPED], TaskStatus.STOPPED, 1), instance_id=instance)
    world.deliver()
    ids |= {REVISION: revision_of(svc["deployments"][0]["id"]), TASK_SET: revision_of(task_set)}
    return {**ids, INSTANCE: instance}


def do(operation: str, world: World, **request: Any) -> dict[str, Any]:
    return app.OPERATIONS[operation](world.cp, request)


def agents_key(world: World, instance_id: str) -> Credentials:
    """With which the agent of an instance signs."""
    signing_key = world.cp.signing_keys.newest()
    key = AccessKey(
        access_key_id=new_access_key_id(world.cp.new_id()),
        signing_key=signing_key.key_id,
        created_at=world.now,
        principal=f"container-instance/default/{instance_id}",
        agent_of=AgentOf(cluster="default", instance_id=instance_id),
    )
    world.table.commit([access_keys.created(key)])
    return Credentials(key.access_key_id, secret_of(signing_key, key.access_key_id))


def answer(request: Request, key: Credentials) -> tuple[int, str]:
    """Status and body, of the handler that Lambda calls with the signed request."""
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if request.target is not None:
        headers["X-Amz-Target"] = request.target
    signed = AWSRequest("POST", ENDPOINT, headers=headers, data=request.body)
    SigV4Auth(key, "ecs", REGION).add_auth(signed)
    answered = app.handler(http_api_event(signed.prepare()), CONTEXT)
    return answered["statusCode"], answered["body"]


def faults_of(request: Request, status: int, body: str) -> Iterator[str]:
    """What is wrong with an answer: it is a documented error, or what the model says of the operation's output."""
    try:
        value = json.loads(body)
    except ValueError:
        yield f"{status}, and no JSON: {body[:300]}"
        return
    known = request.target == f"{PREFIX}.{request.operation}" and request.operation in service_model().operation_names
    if status == 200:
        model = service_model().operation_model(request.operation)
        if model.output_shape:
            yield from strangers(value, model.output_shape, "")
            create_parser("json").parse({"status_code": 200, "headers": {}, "body": body.encode()}, model.output_shape)
        return
    code, message = value.get("__type"), value.get("message")
    documented = dict.fromkeys(
        (shape.name for shape in service_model().operation_model(request.operation).error_shapes) if known else (), 400
    )
    if known and request.operation in REFUSED_OPERATIONS:
        documented = {"UnsupportedFeatureException": 400}
    if request.operation == "DiscoverPollEndpoint":
        documented["UnsupportedFeatureException"] = 400  # there is no endpoint for Amazon's agents to poll here
    if {**documented, **OF_EVERY_API}.get(code) != status:
        yield f"{status} {code}, which is not documented for it: {message}"
    if not isinstance(message, str) or not message:
        yield f"{status} {code} without a message"


_JSON: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("integer", "long"), (int,)),
    **dict.fromkeys(("double", "float", "timestamp"), (int, float)),
    "boolean": (bool,),
    "string": (str,),
}


def strangers(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Members that the model does not have, and values of another type, or that are none of an enumeration's."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, each in value.items():
            if name in shape.members:
                yield from strangers(each, shape.members[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is no member"
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for each in value:
            yield from strangers(each, shape.member, f"{path}[]")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for each in value.values():
            yield from strangers(each, shape.value, f"{path}{{}}")
    elif not isinstance(value, _JSON.get(shape.type_name, ())) or (
        isinstance(value, bool) and shape.type_name != "boolean"
    ):
        yield f"{path} is {value!r:.100}, and no {shape.type_name}"
    elif isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield f"{path} is {value!r:.100}, which is none of {shape.enum}"
