"""Attributes of container instances: what an agent registers, and what the API has said since. Pure.

The two are stored apart, so that neither undoes the other: of a name of which PutAttributes or DeleteAttributes has
said something the last such word stands, whatever its agent registers later; of all others it is the agent's.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-constraints.html#attributes
"""

import re
from collections.abc import Iterable, Mapping

from control_plane.domain.container_instance import ContainerInstance, Registration
from control_plane.domain.errors import AttributeLimitExceededException, InvalidParameterException

MAX_CUSTOM = 10
"""Of an instance."""

RESERVED = ("ecs.", "com.amazonaws.", "ecs-anywhere.")
"""What names begin with that say what a machine is and can do: only its agent knows."""

_NAME = re.compile(r"[a-zA-Z0-9_./\\-]{1,128}")
_VALUE = re.compile(r"(?! )[a-zA-Z0-9_.@/\\: -]{1,128}(?<! )")


def check_attribute(name: str, value: str | None) -> None:
    """Raises InvalidParameterException if the API may not say this."""
    if not _NAME.fullmatch(name):
        raise InvalidParameterException(
            "The name of an attribute has 1 to 128 letters, numbers, hyphens, underscores, slashes, back slashes or "
            f"periods, but one is '{name[:200]}'."
        )
    if name.startswith(RESERVED):
        raise InvalidParameterException(
            f"Attribute {name} cannot be changed: names that begin with {', '.join(RESERVED[:-1])} or {RESERVED[-1]} "
            "say what the container instance is and can do."
        )
    if value is not None and not _VALUE.fullmatch(value):
        raise InvalidParameterException(
            f"The value of attribute {name} has 1 to 128 letters, numbers, spaces or characters of - _ . @ / \\ :, and "
            "no space at its beginning or end."
        )


def put(instance: ContainerInstance, given: Mapping[str, str | None]) -> ContainerInstance:
    """The instance with these attributes; None is no value. Raises AttributeLimitExceededException."""
    after = instance.model_copy(
        update={
            "put_attributes": {**instance.put_attributes, **{name: value or "" for name, value in given.items()}},
            "deleted_attributes": instance.deleted_attributes - given.keys(),
        }
    )
    if len(_custom(after)) > max(MAX_CUSTOM, len(_custom(instance))):
        raise AttributeLimitExceededException(
            f"Container instance {instance.instance_id} can have at most {MAX_CUSTOM} custom attributes. Delete some "
            "with DeleteAttributes."
        )
    return after


def delete(instance: ContainerInstance, capabilities: Iterable[str], names: Iterable[str]) -> ContainerInstance:
    """The instance without these attributes. `capabilities`: the names of its agent's that have no value."""
    gone = frozenset(names)
    of_agent = gone & (instance.attributes.keys() | frozenset(capabilities))
    return instance.model_copy(
        update={
            "put_attributes": {name: value for name, value in instance.put_attributes.items() if name not in gone},
            "deleted_attributes": instance.deleted_attributes | of_agent,
        }
    )


def attributes_of(instance: ContainerInstance, capabilities: Iterable[str]) -> dict[str, str]:
    """All that it has, by name; a value is empty if it has none."""
    of_agent = {**dict.fromkeys(capabilities, ""), **instance.attributes}
    kept = {name: value for name, value in of_agent.items() if name not in instance.deleted_attributes}
    return dict(sorted({**kept, **instance.put_attributes}.items()))


def described_attributes(instance: ContainerInstance, registration: Registration) -> list[dict[str, str]]:
    """As the ECS API gives those of one instance."""
    capabilities = [attribute.name for attribute in registration.attributes if attribute.value is None]
    return [described(name, value) for name, value in attributes_of(instance, capabilities).items()]


def described(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value} if value else {"name": name}


def _custom(instance: ContainerInstance) -> set[str]:
    return {name for name in attributes_of(instance, ()) if not name.startswith(RESERVED)}
