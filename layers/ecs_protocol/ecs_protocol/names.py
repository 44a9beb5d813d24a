"""Names that control plane, agent and CLI must agree on."""

from ecs_protocol.messages import Topics


def thing_name(prefix: str, container_instance_id: str) -> str:
    """The thing, and so the MQTT client id, of an instance; `prefix` tells deployments of one account apart."""
    return f"{prefix}-{container_instance_id}"


def container_instance_id(prefix: str, thing: str) -> str | None:
    """The inverse; None if the thing is not of this deployment."""
    head = f"{prefix}-"
    return thing[len(head) :] if thing.startswith(head) and len(thing) == len(head) + 32 else None


def rule_name(prefix: str, what: str) -> str:
    """IoT rule names take letters, digits and underscores only."""
    return f"{prefix.replace('-', '_')}_{what}"


def topics(prefix: str, thing: str) -> Topics:
    """What goes up uses Basic Ingest, which IoT Core does not charge as a message."""
    return Topics(
        requests=f"$aws/rules/{rule_name(prefix, 'agent_request')}/{prefix}/{thing}/request",
        task_state_changes=f"$aws/rules/{rule_name(prefix, 'task_state_change')}/{prefix}/{thing}/task-state-change",
        commands=f"{prefix}/{thing}/commands",
        credentials=f"$aws/rules/{rule_name(prefix, 'credentials')}/{prefix}/{thing}/credentials",
    )


def stream_topic(commands: str, session_id: str) -> str:
    """Below which a stream's two topics are: beside the machine's commands, so that it can only speak as itself."""
    return f"{commands.removesuffix('/commands')}/streams/{session_id}"


def stream_client_id(prefix: str, session_id: str) -> str:
    """An operator's MQTT client id. No prefix has an underscore: it is no thing's, of whatever deployment, and no rule
    about machines hears of it."""
    return f"{prefix}_stream_{session_id}"
