"""Items leave out what is None or empty: an entity must come back from its item as it was."""

import importlib
import pkgutil
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import control_plane.domain
import control_plane.store
from control_plane.domain.entity import Entity

for package in (control_plane.domain, control_plane.store):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def default_of(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


@pytest.mark.parametrize("entity", Entity.__subclasses__(), ids=lambda entity: entity.__name__)
def test_what_is_left_out_is_what_a_member_is_by_default(entity: type[Entity]) -> None:
    for name, field in entity.model_fields.items():
        default = default_of(field)
        if "None" in str(field.annotation):
            assert default is None, f"{name}: None would come back as {default!r}"
        if isinstance(default, (tuple, list, dict, set, frozenset)):
            assert not default, f"{name}: empty would come back as {default!r}"
        if str(field.annotation).startswith(("tuple[", "dict[", "frozenset[")):
            assert default is not PydanticUndefined, f"{name}: empty could not be read back"
