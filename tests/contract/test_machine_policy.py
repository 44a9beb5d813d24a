"""What the broker lets a machine do, by the policy of the template: its own, and nothing of anybody else's.

The emulator's broker enforces none of this (docs/limits.md): this is the proof for what no function of ours could
refuse, since none ever hears of it.
"""

import pytest

from contract.iot_policy import Connection
from contract.the_template import PREFIX, of_type, resolved
from ecs_protocol.names import rule_name, stream_topic, thing_name, topics

A, B = thing_name(PREFIX, "a" * 32), thing_name(PREFIX, "b" * 32)
OWN, OTHERS = topics(PREFIX, A), topics(PREFIX, B)
ELSEWHERE = topics("other", thing_name("other", "a" * 32))

POLICIES = [resolved(policy["PolicyDocument"]) for policy in of_type("AWS::IoT::Policy").values()]
MACHINE = Connection(A, A, POLICIES)
"""Machine A, connected as itself. A deregistered one that has not heard of it has the same policy."""


def up(own: object) -> list[str]:
    """Where a machine publishes: all of its topics but the commands."""
    return [topic for name, topic in vars(own).items() if topic and name != "commands"]


@pytest.mark.parametrize("topic", up(OWN))
def test_a_machine_publishes_on_its_own_topics(topic: str) -> None:
    assert MACHINE.may("iot:Publish", topic)


def test_a_machine_connects_as_itself_and_hears_its_commands() -> None:
    assert MACHINE.may("iot:Connect", A)
    assert MACHINE.may("iot:Subscribe", OWN.commands)
    assert MACHINE.may("iot:Receive", OWN.commands)


def test_a_machine_writes_and_hears_in_its_own_streams() -> None:
    stream = stream_topic(OWN.commands, "1" * 32)
    assert MACHINE.may("iot:Publish", f"{stream}/out")
    assert MACHINE.may("iot:Subscribe", f"{stream}/in")
    assert MACHINE.may("iot:Receive", f"{stream}/in")


FOREIGN = {
    "connect as B": ("iot:Connect", B),
    "connect as nobody in particular": ("iot:Connect", "*"),
    "connect under a name that begins with its own": ("iot:Connect", f"{A}-2"),
    "publish B's requests": ("iot:Publish", OTHERS.requests),
    "publish B's reports": ("iot:Publish", OTHERS.task_state_changes),
    "ask for credentials as B": ("iot:Publish", OTHERS.credentials or ""),
    "command B": ("iot:Publish", OTHERS.commands),
    "command itself": ("iot:Publish", OWN.commands),
    "publish on its topic around the rule": ("iot:Publish", f"{PREFIX}/{A}/request"),
    "speak to another deployment": ("iot:Publish", ELSEWHERE.requests),
    "speak to a rule of somebody else's": ("iot:Publish", f"$aws/rules/other/{PREFIX}/{A}/request"),
    "speak to the rule for reports in the words of requests": (
        "iot:Publish",
        f"$aws/rules/{rule_name(PREFIX, 'task_state_change')}/{PREFIX}/{A}/request",
    ),
    "say that B is gone": ("iot:Publish", f"$aws/events/presence/disconnected/{B}"),
    "change its shadow": ("iot:Publish", f"$aws/things/{A}/shadow/update"),
    "ask for another certificate": ("iot:Publish", "$aws/certificates/create/json"),
    "write into B's streams": ("iot:Publish", f"{stream_topic(OTHERS.commands, 'x')}/out"),
    "say what an operator says": ("iot:Publish", f"{stream_topic(OWN.commands, 'x')}/in"),
    "hear what an operator types at B": ("iot:Receive", f"{stream_topic(OTHERS.commands, 'x')}/in"),
    "subscribe to what operators type": ("iot:Subscribe", f"{PREFIX}/+/streams/+/in"),
    "subscribe to what B's containers write": ("iot:Subscribe", f"{stream_topic(OTHERS.commands, 'x')}/out"),
    "hear B's commands": ("iot:Receive", OTHERS.commands),
    "subscribe to B's commands": ("iot:Subscribe", OTHERS.commands),
    "subscribe to everybody's commands": ("iot:Subscribe", f"{PREFIX}/+/commands"),
    "subscribe to all": ("iot:Subscribe", "#"),
    "subscribe to all of the deployment": ("iot:Subscribe", f"{PREFIX}/#"),
    "subscribe to all of its own, which is more than its own": ("iot:Subscribe", f"{PREFIX}/{A}/#"),
    "subscribe in a shared group": ("iot:Subscribe", f"$share/group/{OTHERS.commands}"),
    "subscribe to presence": ("iot:Subscribe", "$aws/events/presence/+/+"),
}


@pytest.mark.parametrize("attempt", FOREIGN)
def test_a_machine_may_not(attempt: str) -> None:
    assert not MACHINE.may(*FOREIGN[attempt])


EVERYTHING_OWN = [
    ("iot:Connect", A),
    *(("iot:Publish", topic) for topic in up(OWN)),
    ("iot:Subscribe", OWN.commands),
    ("iot:Receive", OWN.commands),
]


@pytest.mark.parametrize(("action", "name"), EVERYTHING_OWN)
def test_without_a_certificate_nothing_is_allowed(action: str, name: str) -> None:
    assert not Connection(A, None, []).may(action, name)


@pytest.mark.parametrize(("action", "name"), EVERYTHING_OWN)
def test_with_as_certificate_under_another_client_id_nothing_is_allowed(action: str, name: str) -> None:
    """The thing is that of the client id, and the certificate is attached to A's only."""
    assert not Connection(B, None, POLICIES).may(action, name)


@pytest.mark.parametrize(("action", "name"), EVERYTHING_OWN)
def test_b_may_do_nothing_of_as(action: str, name: str) -> None:
    assert not Connection(B, B, POLICIES).may(action, name)


def test_the_evaluator_itself() -> None:
    """Wildcards, an explicit deny, and what has no thing."""

    def statement(effect: str, action: str, resource: str) -> dict[str, str]:
        arn = "arn:${AWS::Partition}:iot:${AWS::Region}:${AWS::AccountId}:"
        return {"Effect": effect, "Action": action, "Resource": f"{arn}{resource}"}

    allow = {"Statement": [statement("Allow", "iot:*", "topic/a/*/c")]}
    deny = {"Statement": [statement("Deny", "iot:Publish", "topic/a/?/c")]}
    assert Connection("x", "x", [allow]).may("iot:Publish", "a/b/b/c")
    assert not Connection("x", "x", [allow, deny]).may("iot:Publish", "a/b/c")
    assert Connection("x", "x", [allow, deny]).may("iot:Publish", "a/bb/c")
    assert not Connection("x", "x", [allow]).may("iot:Subscribe", "a/b/c")
