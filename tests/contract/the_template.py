"""template.yaml as data, with its functions worked out for one Prefix."""

import functools
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).parents[2]
PREFIX = "my-ecs-anywhere"
"""Has dashes, which names of IoT rules must not have."""


@functools.cache
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return parsed


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Properties of every resource of a type, by logical id."""
    found = template()["Resources"].items()
    return {name: resource.get("Properties", {}) for name, resource in found if resource["Type"] == kind}


def referred(value: Any) -> str:
    """The logical id that a Ref or GetAtt names."""
    if "Ref" in value:
        name: str = value["Ref"]
        return name
    attribute: str | list[str] = value["Fn::GetAtt"]
    return attribute[0] if isinstance(attribute, list) else attribute.split(".", maxsplit=1)[0]


def resolved(value: Any, **variables: str) -> Any:
    """What CloudFormation makes of a value for PREFIX. Names of other resources and of pseudo parameters stay."""
    known = {"Prefix": PREFIX, **variables}
    match value:
        case {"Ref": str(name)}:
            return known.get(name, name)
        case {"Fn::GetAtt": attribute}:
            return ".".join(attribute) if isinstance(attribute, list) else attribute
        case {"Fn::Sub": [str(text), dict(own)]}:
            return _substituted(text, {**known, **{name: resolved(each) for name, each in own.items()}})
        case {"Fn::Sub": str(text)}:
            return _substituted(text, known)
        case {"Fn::Join": [str(separator), parts]}:
            return separator.join(resolved(parts))
        case {"Fn::Split": [str(separator), text]}:
            return resolved(text).split(separator)
        case dict():
            return {name: resolved(each) for name, each in value.items()}
        case list():
            return [resolved(each) for each in value]
        case _:
            return value


def _substituted(text: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
    return text
