"""FireLens: one container of a task takes what the others write, and sends it on. Pure.

What such a log router is told is what Amazon's agent tells it, in the form of Fluent Bit or of Fluentd. What is written
with the tag `<container>-firelens-<task id>` is one container's, and goes where the log options of that one say.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html
https://github.com/aws/amazon-ecs-agent/blob/master/agent/taskresource/firelens/firelensconfig_unix.go
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ecs_anywhere_agent.container_order import Dependency, DependencyCondition, dependencies_of
from ecs_anywhere_agent.container_secrets import Secret, secrets_of

DRIVER = "awsfirelens"
BUFFER_LIMIT = "log-driver-buffer-limit"
"""A log option that is Docker's, not the router's."""
SOCKET = "/var/run/fluent.sock"
"""In the log router."""
PORT = 24224
"""On which the log router listens for what programs send it themselves, where the task has a network of its own."""
EXTERNAL = {"fluentbit": "/fluent-bit/etc/external.conf", "fluentd": "/fluentd/etc/external.conf"}
"""Where the log router finds what came from S3."""
_VARIABLE = {"fluentbit": "${{{}}}", "fluentd": "\"#{{ENV['{}']}}\""}
"""How a configuration names a variable of the environment."""

Options = Mapping[str, str]


class LogRouter(NamedTuple):
    """What the container that routes logs is told."""

    kind: Literal["fluentbit", "fluentd"]
    configuration: str
    external: str | None = None
    """ARN of an object in S3 that is a part of it."""


class Routing(NamedTuple):
    """How the logs of a task are routed."""

    name: str
    """Of the container that does it."""
    router: LogRouter
    secrets: tuple[Secret, ...]
    """What it gets as variables of its environment, for the log options that are secret: its configuration names these
    variables, and Docker is told nothing."""
    depends: bool
    """It depends on other containers itself: they do not wait for it, as this could be a circle."""


class UnusableLogOptionsError(ValueError):
    """Log options that no log router understands; the text says why."""


def routing_of(
    task_definition: Mapping[str, Any], network_mode: str, *, cluster: str, task_arn: str, revision: str
) -> Routing | None:
    """None: the task has no log router. Raises UnusableLogOptionsError."""
    containers = task_definition["containerDefinitions"]
    router = next((each for each in containers if each.get("firelensConfiguration")), None)
    if router is None:
        return None
    given = router["firelensConfiguration"]
    kind: Literal["fluentbit", "fluentd"] = given["type"]
    options: Options = given.get("options") or {}
    fields = {
        "ecs_cluster": cluster.rpartition("/")[2],
        "ecs_task_arn": task_arn,
        "ecs_task_definition": revision,
    }
    secret = [
        (container["name"], option, f"{option.name}_{number}")
        for number, container in enumerate(containers)
        if sends(container)
        for option in secrets_of(container["logConfiguration"].get("secretOptions"))
    ]
    options_of: dict[str, dict[str, str]] = {
        each["name"]: dict(each["logConfiguration"].get("options") or {}) for each in containers if sends(each)
    }
    for name, option, variable in secret:
        options_of[name][option.name] = _VARIABLE[kind].format(variable)
    file = options.get("config-file-type")
    write = _fluentd if kind == "fluentd" else _fluent_bit
    configuration = write(
        options_of,
        in_bridge=network_mode == "bridge",
        fields=fields if _is_true(options.get("enable-ecs-log-metadata", "true")) else {},
        include=EXTERNAL[kind] if file == "s3" else options.get("config-file-value"),
    )
    return Routing(
        router["name"],
        LogRouter(kind, configuration, options["config-file-value"] if file == "s3" else None),
        secrets=tuple(Secret(variable, option.value_from) for _, option, variable in secret),
        depends=bool(dependencies_of(router)),
    )


def sends(container: Mapping[str, Any]) -> bool:
    """Whether what it writes is routed."""
    return (container.get("logConfiguration") or {}).get("logDriver") == DRIVER


def with_router(
    dependencies: tuple[Dependency, ...], container: Mapping[str, Any], routing: Routing | None
) -> tuple[Dependency, ...]:
    """Unless it says otherwise, a container that sends its logs starts after the router, and so stops before it."""
    if routing is None or routing.depends or not sends(container):
        return dependencies
    if any(
        each.container == routing.name and each.condition is not DependencyCondition.CREATE for each in dependencies
    ):
        return dependencies
    return (*dependencies, Dependency(routing.name, DependencyCondition.START))


def _is_true(text: str) -> bool:
    """As Go reads it; what is neither true nor false is false, as with Amazon's agent."""
    return text in {"1", "t", "T", "true", "TRUE", "True"}


def _outputs(senders: Mapping[str, Options], key: str) -> Iterator[tuple[str, str, Options]]:
    """(container, plugin, its options); none of a container whose output is in a file of the user's own."""
    for name, options in senders.items():
        others = {
            option: value
            for option, value in sorted(options.items())
            if option not in {key, BUFFER_LIMIT, "include-pattern", "exclude-pattern"}
        }
        if key in options:
            yield name, options[key], others
        elif others:
            raise UnusableLogOptionsError(
                f"unable to apply log options of container {name} to firelens config: missing output key {key}"
            )


def _filters(senders: Mapping[str, Options], option: str) -> Iterator[tuple[str, str]]:
    """(container, pattern)."""
    return ((name, options[option]) for name, options in senders.items() if option in options)


def _lines(options: Options) -> tuple[str, ...]:
    return tuple(f"{name} {value}" for name, value in sorted(options.items()))


def _fluent_bit(senders: Mapping[str, Options], *, in_bridge: bool, fields: Options, include: str | None) -> str:
    """https://docs.fluentbit.io/manual/administration/configuring-fluent-bit/classic-mode/configuration-file"""

    def section(head: str, *lines: str) -> str:
        return "\n".join((f"[{head}]", *(f"    {line}" for line in lines)))

    def parts() -> Iterator[str]:
        yield section("INPUT", "Name forward", f"unix_path {SOCKET}")
        if in_bridge:
            yield section("INPUT", "Name forward", "Listen 0.0.0.0", f"Port {PORT}")
            yield section("INPUT", "Name tcp", "Tag firelens-healthcheck", "Listen 127.0.0.1", "Port 8877")
        for name, pattern in _filters(senders, "include-pattern"):
            yield section("FILTER", "Name   grep", f"Match {name}-firelens*", f"Regex  log {pattern}")
        for name, pattern in _filters(senders, "exclude-pattern"):
            yield section("FILTER", "Name   grep", f"Match {name}-firelens*", f"Exclude log {pattern}")
        if fields:
            yield section("FILTER", "Name record_modifier", "Match *", *(f"Record {line}" for line in _lines(fields)))
        if include:
            yield f"@INCLUDE {include}"
        if in_bridge:
            yield section("OUTPUT", "Name null", "Match firelens-healthcheck")
        for name, plugin, options in _outputs(senders, "Name"):
            yield section("OUTPUT", f"Name {plugin}", f"Match {name}-firelens*", *_lines(options))

    return "\n\n".join(parts()) + "\n"


def _fluentd(senders: Mapping[str, Options], *, in_bridge: bool, fields: Options, include: str | None) -> str:
    """https://docs.fluentd.org/configuration/config-file"""

    def grep(name: str, kind: str, pattern: str) -> str:
        inner = _block(kind, "", ("key log", f"pattern {pattern}"))
        return _block("filter", f"{name}-firelens**", ("@type  grep", *inner.split("\n")))

    def parts() -> Iterator[str]:
        yield _block("source", "", ("@type unix", f"path {SOCKET}"))
        if in_bridge:
            yield _block("source", "", ("@type forward", "bind 0.0.0.0", f"port {PORT}"))
        for name, pattern in _filters(senders, "include-pattern"):
            yield grep(name, "regexp", pattern)
        for name, pattern in _filters(senders, "exclude-pattern"):
            yield grep(name, "exclude", pattern)
        if fields:
            record = _block("record", "", _lines(fields))
            yield _block("filter", "**", ("@type record_transformer", *record.split("\n")))
        if include:
            yield f"@include {include}"
        for name, plugin, options in _outputs(senders, "@type"):
            yield _block("match", f"{name}-firelens**", (f"@type {plugin}", *_lines(options)))

    return "\n\n".join(parts()) + "\n"


def _block(kind: str, argument: str, lines: Iterable[str]) -> str:
    head = f"<{kind} {argument}>" if argument else f"<{kind}>"
    return "\n".join((head, *(f"    {line}" for line in lines), f"</{kind}>"))
