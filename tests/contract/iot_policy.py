"""AWS IoT's decision on what a client may do, by the policies of its certificate: what only the broker can refuse.

Denied unless a statement allows it and none denies it. `*` stands for any characters, `?` for one; MQTT's own wildcards
in a topic filter are characters like others. A policy variable that has no value makes its statement match nothing.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-policies.html
https://docs.aws.amazon.com/iot/latest/developerguide/pub-sub-policy.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ARN = "arn:${AWS::Partition}:iot:${AWS::Region}:${AWS::AccountId}:"
"""As the_template.py leaves it: the account is any."""

KINDS = {"iot:Connect": "client", "iot:Publish": "topic", "iot:Receive": "topic", "iot:Subscribe": "topicfilter"}

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Connection:
    """What AWS IoT knows of a client. `thing` is that of its client id, if the certificate is attached to it."""

    client_id: str
    thing: str | None
    policies: Sequence[Policy]
    """Of its certificate; a client without one has none."""

    def may(self, action: str, name: str) -> bool:
        """`name` is a client id, a topic or a topic filter."""
        statements = [each for policy in self.policies for each in policy["Statement"]]
        effects = {each["Effect"] for each in statements if self._matches(each, action, name)}
        return "Allow" in effects and "Deny" not in effects

    def _matches(self, statement: Mapping[str, Any], action: str, name: str) -> bool:
        known = {"NotAction", "NotResource", "Principal"} & set(statement)
        assert not known, f"this evaluator knows no {known}"
        actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
        asked = f"{ARN}{KINDS[action]}/{name}"
        return (
            any(_like(each, action) for each in actions)
            and any(_like(each, asked) for each in map(self._substituted, resources) if each is not None)
            and self._satisfies(statement.get("Condition", {}))
        )

    def _substituted(self, resource: str) -> str | None:
        values = {"iot:Connection.Thing.ThingName": self.thing, "iot:ClientId": self.client_id}
        for name, value in values.items():
            if f"${{{name}}}" in resource:
                if value is None:
                    return None
                resource = resource.replace(f"${{{name}}}", value)
        assert not re.search(r"\$\{iot:", resource), f"this evaluator does not know a variable of {resource}"
        return resource

    def _satisfies(self, condition: Mapping[str, Any]) -> bool:
        attached = {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}
        assert condition in ({}, attached), f"this evaluator does not know {condition}"
        return not condition or self.thing is not None


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _like(pattern: str, text: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
