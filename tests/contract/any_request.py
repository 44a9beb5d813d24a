"""Requests of any kind to the ECS API, generated from the shapes of botocore's model.

VALID       the model allows it, mostly of supported members, with names that mostly exist
MUTATED     a valid one, of which one value has the wrong type, an unknown name, a wrong size, …
BROKEN      no JSON object, or too large, or nested too deeply, or to no operation of ECS
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from functions.api_ecs.app import AGENT_OPERATIONS, OPERATIONS
from hypothesis import strategies as st

from control_plane.domain.supported_members import ONLY, SUPPORTED
from control_plane.gateways.ecs_model import service_model

ACCOUNT = "123456789012"
ARN = f"arn:aws:ecs:eu-west-1:{ACCOUNT}"
OTHERS = "arn:aws:ecs:eu-west-1:999999999999"
INSTANCE, TASK, STOPPED = "1" * 32, "2" * 32, "3" * 32
GROUP = f"arn:aws:autoscaling:eu-west-1:{ACCOUNT}:autoScalingGroup:{'6' * 8}:autoScalingGroupName/group"
REVISION, TASK_SET = "4" * 19, "5" * 19
"""They stand for what every case finds (front_door.py)."""
PREFIX = "AmazonEC2ContainerServiceV20141113"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Request:
    """`target` is the header X-Amz-Target."""

    target: str | None
    body: bytes

    @property
    def operation(self) -> str:
        return (self.target or "").partition(".")[2]

    def __repr__(self) -> str:
        shown = self.body if len(self.body) < 3000 else self.body[:1500] + b" ... " + self.body[-100:]
        return f"{self.target} {shown!r} ({len(self.body)} bytes)"


NAMED: dict[str, tuple[Any, ...]] = {
    "cluster": ("default", "default", f"{ARN}:cluster/default", "closed", "spare"),
    "clusters": ("default", "spare", "closed"),
    "clusterName": ("default", "spare", "fresh"),
    "taskDefinition": ("web", "web:1", "web:2", "old:1", "both", f"{ARN}:task-definition/web:1"),
    "taskDefinitions": ("web:1", "old:1", "old"),
    "service": ("svc", f"{ARN}:service/default/svc", "other", "sets"),
    "serviceName": ("svc", "fresh", "other"),
    "services": ("svc", "other", f"{ARN}:service/default/svc", "sets"),
    "serviceDeploymentArn": (f"{ARN}:service-deployment/default/svc/{REVISION}",),
    "serviceDeploymentArns": (f"{ARN}:service-deployment/default/svc/{REVISION}",),
    "serviceRevisionArns": (f"{ARN}:service-revision/default/svc/{REVISION}",),
    "taskSet": (f"ecs-svc/{TASK_SET}", f"{ARN}:task-set/default/sets/ecs-svc/{TASK_SET}"),
    "taskSets": (f"ecs-svc/{TASK_SET}", f"{ARN}:task-set/default/sets/ecs-svc/{TASK_SET}"),
    "primaryTaskSet": (f"ecs-svc/{TASK_SET}",),
    "containerInstance": (INSTANCE, f"{ARN}:container-instance/default/{INSTANCE}"),
    "containerInstances": (INSTANCE, f"{ARN}:container-instance/default/{INSTANCE}"),
    "targetId": (INSTANCE, f"{ARN}:container-instance/default/{INSTANCE}"),
    "task": (TASK, STOPPED, f"{ARN}:task/default/{TASK}"),
    "tasks": (TASK, STOPPED, f"{ARN}:task/default/{TASK}"),
    "resourceArn": (
        *(f"{ARN}:{each}" for each in ("cluster/default", "service/default/svc", "task-definition/web:1")),
        *(f"{ARN}:{each}" for each in (f"task/default/{TASK}", f"container-instance/default/{INSTANCE}")),
        f"{ARN}:task-set/default/sets/ecs-svc/{TASK_SET}",
    ),
    "capacityProvider": ("EXTERNAL", "FARGATE", "web", f"{ARN}:capacity-provider/web"),
    "autoScalingGroupArn": ("group", GROUP),
    "capacityProviders": ("EXTERNAL", "FARGATE", "FARGATE_SPOT"),
    "family": ("web", "fresh"),
    "familyPrefix": ("web", "w"),
    "name": ("main", "site", "containerInsights"),
    "image": ("busybox", "busybox:1"),
    "cpu": ("256", "0.5 vCPU"),
    "memory": ("512", "1 GB"),
    "containerName": ("main",),
    "expression": ("attribute:site exists", "not(task:group =~ 'family:(web)+')", "attribute:site =~ (a", "x"),
    "filter": ("attribute:site exists", "runningTasksCount > 0", "attribute:site"),
    "field": ("instanceId", "host", "attribute:site", "memory"),
    "clientToken": ("token", "used"),
    "principalArn": (f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{ACCOUNT}:user/x"),
    "group": ("family:web", "service:svc", "g"),
    "launchType": ("EXTERNAL",),
    "networkMode": ("bridge", "host", "awsvpc"),
}
"""What a member of a name mostly holds, so that many requests get past the first look."""

ODD_TEXTS = (
    *("", ":", "/", "a/b", "arn:", "arn:aws:ecs", "web:0", "web:²", "web:1:2", f"web:{'9' * 20}", "é", "\0", "\x07"),
    *("x" * 300, "x" * 10_000, "0" * 32, "AAAA", "e30=", "eyJhIjoxfQ==", "*", "a b", "😀", "aws:x", "a\nb", "%s{0}"),
    *(f"{OTHERS}:cluster/default", f"{OTHERS}:task/default/{TASK}", f"{OTHERS}:task-definition/web:1"),
    *(f"{ARN}:task/closed/{TASK}", f"{ARN}:service/svc", "arn:aws:ecs:us-east-1:123456789012:cluster/default"),
    *("main", "site", "web", "default", "enabled", "ecs-anywhere:disconnect", "CMD", "true", "busybox"),
)
NUMBERS = (0, 1, 1, 2, 10, 64, 80, 100, 128, 512, 8080, -1, 65_536, 2**31 - 1)
WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**400, -(10**12), 2**31, 2**63, 1e308, "", "UNKNOWN", [], {}, [[]], [None], {"x": 1}),
    *(["x"] * 200, "\ud800", {"\0": {}}, "x" * 10_000, "\x00\x1f\x7f", f"{OTHERS}:cluster/default"),
)
"""Any of them is wrong somewhere."""


SUPPORTED_OPERATIONS = tuple(sorted({*OPERATIONS, *AGENT_OPERATIONS}))
REFUSED_OPERATIONS = tuple(sorted({*service_model().operation_names} - {*SUPPORTED_OPERATIONS}))


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


def input_of(operation: str) -> StructureShape | None:
    return service_model().operation_model(operation).input_shape


@cache
def values(shape: Shape, name: str = "") -> st.SearchStrategy[Any]:
    """JSON values that the model allows; `name` is the member's."""
    if isinstance(shape, StructureShape):
        return structures(shape, tuple(shape.members))
    if isinstance(shape, ListShape):
        return st.lists(values(shape.member, name), max_size=3)
    if isinstance(shape, MapShape):
        return st.dictionaries(st.sampled_from(ODD_TEXTS), values(shape.value), max_size=2)
    if isinstance(shape, StringShape):
        odd = st.sampled_from(tuple(shape.enum) or ODD_TEXTS)
        known = NAMED.get(name)
        return st.one_of(st.sampled_from(known), st.sampled_from(known), odd) if known else odd
    if shape.type_name == "boolean":
        return st.booleans()
    if shape.type_name == "timestamp":
        return st.sampled_from((0, 1.5, 1_767_225_600, 4e9, 1e15, -1e11))
    return st.sampled_from(NUMBERS)


@st.composite
def structures(draw: st.DrawFn, shape: StructureShape, members: tuple[str, ...]) -> dict[str, Any]:
    """The required members, and a few of the others."""
    required = [name for name in shape.required_members if name in members]
    optional = sorted(set(members) - set(required))
    more = draw(st.lists(st.sampled_from(optional), max_size=4, unique=True)) if optional else []
    return {name: draw(values(shape.members[name], name)) for name in (*required, *more)}


@st.composite
def bodies(draw: st.DrawFn, operation: str) -> dict[str, Any]:
    """Mostly of what is supported: the rest is refused before it could do harm."""
    shape = input_of(operation)
    if shape is None:
        return {}
    supported = SUPPORTED.get(operation, frozenset({"*"}))
    only = "*" not in supported and draw(st.integers(0, 9)) > 0
    members = tuple(name for name in shape.members if not only or name in supported)
    body = draw(structures(shape, members))
    for member, allowed in ONLY.get(operation, {}).items():
        if only and isinstance(allowed, tuple) and member in body and not isinstance(body[member], list):
            body[member] = draw(st.sampled_from(allowed))
    return body


@st.composite
def valid(draw: st.DrawFn, operations: tuple[str, ...] = SUPPORTED_OPERATIONS) -> Request:
    operation = draw(st.sampled_from(operations))
    return _request(operation, draw(bodies(operation)))


@st.composite
def mutated(draw: st.DrawFn) -> Request:
    operation = draw(st.sampled_from(SUPPORTED_OPERATIONS))
    body = copy.deepcopy(draw(bodies(operation)))
    places = list(_places(body))
    if not places or draw(st.booleans()):
        body[draw(st.sampled_from(("unknown", "cluster", "__type", "\0")))] = draw(st.sampled_from(WRONG))
        return _request(operation, body)
    within, key = draw(st.sampled_from(places))
    if draw(st.integers(0, 4)) == 0:
        del within[key]
    else:
        within[key] = draw(st.one_of(st.sampled_from(WRONG), st.sampled_from((20, 400)).map(_deep)))
    return _request(operation, body)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where a value can be exchanged: (container, key or index)."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    )
    for key, each in pairs:
        yield value, key
        yield from _places(each)


def _request(operation: str, body: Any) -> Request:
    return Request(f"{PREFIX}.{operation}", json.dumps(body).encode())


NO_OBJECTS = (
    *(b"", b"{", b"[]", b"null", b'"x"', b"1", b"{}{}", b"\xff\xfe{}", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}'),
    *(b'{"cluster": "\\ud800"}', b'{"cluster": "a", "cluster": 1}', b'{"count": ' + b"9" * 5000 + b"}", b"\x00" * 10),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"a": 1e999999}', b'{"maxResults": 1e999}', b"\xef\xbb\xbf{}"),
)
LARGE = (
    b'{"cluster": "' + b"x" * MEBIBYTE + b'"}',
    b'{"unknown": [' + b"0," * MEBIBYTE + b"0]}",
    b" " * (5 * MEBIBYTE) + b"{}",
)
TARGETS = (None, "", PREFIX, f"{PREFIX}.", f"{PREFIX}.Nothing", f"{PREFIX}.runTask", "Other.RunTask", "x" * 10_000)


def broken() -> st.SearchStrategy[Request]:
    """Any operation with what is no request; and any request to what is no operation."""
    operations = st.sampled_from(sorted(service_model().operation_names))
    kinds = [
        st.builds(
            lambda operation, body: Request(f"{PREFIX}.{operation}", body), operations, st.sampled_from(NO_OBJECTS)
        ),
        st.builds(lambda target: Request(target, b"{}"), st.sampled_from(TARGETS)),
    ]
    if REFUSED_OPERATIONS:
        kinds.append(valid(REFUSED_OPERATIONS))
    return st.one_of(kinds)


def large() -> st.SearchStrategy[Request]:
    return st.builds(
        lambda operation, body: Request(f"{PREFIX}.{operation}", body),
        st.sampled_from(SUPPORTED_OPERATIONS),
        st.sampled_from(LARGE),
    )


def cases() -> st.SearchStrategy[list[Request]]:
    """A few requests, one after another: what one makes is what the next one meets."""
    one = st.one_of(valid(), valid(), valid(), mutated(), mutated(), broken())
    return st.lists(one, min_size=1, max_size=4)
