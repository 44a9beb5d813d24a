"""Whatever Amazon's model lets through is taken, and then the same again, or refused in Amazon's words."""

from typing import Any

from botocore.model import ListShape, Shape, StringShape, StructureShape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.domain.errors import EcsError
from control_plane.domain.task_definition import normalise
from control_plane.gateways.ecs_model import service_model
from unit.task_definition.builders import container, request

SHAPE: Any = service_model().operation_model("RegisterTaskDefinition").input_shape
ARN = "arn:aws:s3:::bucket/key"
SIDE = container(name="side", essential=False)


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Whatever the model lets through, and now and then what the rest of a definition refers to."""
    if isinstance(shape, StructureShape):
        members = {name: values(member) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    if isinstance(shape, ListShape):
        return st.lists(values(shape.member), max_size=2)
    if shape.type_name == "map":
        return st.dictionaries(TEXT, TEXT, max_size=2)
    if shape.type_name == "boolean":
        return st.booleans()
    if shape.type_name in {"integer", "long"}:
        return st.integers(-2, 600) | st.integers(-(2**31), 2**31 - 1)
    return st.sampled_from(shape.enum) if isinstance(shape, StringShape) and shape.enum else TEXT


WORDS = ["main", "side", "data", "busybox", "512", "1 GB", "/srv", ARN, "CMD", "memberOf", ""]
TEXT = st.sampled_from(WORDS) | st.text(max_size=5)
ANY_REQUEST = values(SHAPE)
PARTS = {name: values(member) for name, member in SHAPE.members.items() if name not in {"family", "tags"}}

OF_A_CONTAINER = {name: values(member) for name, member in SHAPE.members["containerDefinitions"].member.members.items()}


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=50)
@given(asked=ANY_REQUEST)
def test_any_request_is_taken_or_refused_in_amazons_words(asked: dict[str, Any]) -> None:
    taken_or_refused(asked)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_one_part_of_a_good_definition_is_taken_or_refused(data: st.DataObject) -> None:
    """With nothing else wrong, so that what looks at all parts together is reached."""
    made = request(container(mountPoints=[{"sourceVolume": "data", "containerPath": "/data"}]), SIDE)
    made["volumes"] = [{"name": "data"}]
    members = OF_A_CONTAINER if data.draw(st.booleans()) else PARTS
    name = data.draw(st.sampled_from(sorted(members)))
    value = data.draw(members[name])
    if members is PARTS:
        made[name] = value
    else:
        made["containerDefinitions"][0][name] = value
    taken_or_refused(made)


def taken_or_refused(asked: dict[str, Any]) -> None:
    try:
        made = normalise(asked)
    except EcsError:
        return
    computed = {"compatibilities", "requiresAttributes", "externalNetworkMode"}
    again = {name: value for name, value in made.items() if name not in computed}
    assert normalise({**again, "tags": asked.get("tags", [])}) == made
