"""The operator's command `ecs-anywhere`."""

import shlex
import time
from pathlib import Path

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.live import Live

from ecs_anywhere import checks, interrupts, local, overview
from ecs_anywhere.activations import activations
from ecs_anywhere.console import Problem, err, out, print_json
from ecs_anywhere.credentials import configure, credentials
from ecs_anywhere.demo import Demo, next_steps
from ecs_anywhere.duplicates import duplicates
from ecs_anywhere.durations import DURATION
from ecs_anywhere.emulator import running
from ecs_anywhere.interrupts import unbroken
from ecs_anywhere.keys import keys
from ecs_anywhere.machines import deregister, rotate
from ecs_anywhere.options import cluster_option, output_option, stack_name_option, state_dir_option
from ecs_anywhere.orphans import orphans
from ecs_anywhere.policies import policies
from ecs_anywhere.settings import StateDir
from ecs_anywhere.stacks import ecs_client, open_stack, operate, variables
from ecs_anywhere.streams import execute, logs
from ecs_anywhere.trust import trust
from ecs_anywhere.why import why

_port = click.option("--port", type=click.IntRange(1, 65535), help="Of the HTTP endpoints. [default: 4566]")
_mqtt_port = click.option("--mqtt-port", type=click.IntRange(1, 65535), help="Of MQTT over TLS. [default: 8883]")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run Amazon ECS tasks on machines of your own."""


@cli.command()
@click.option("--detach", is_flag=True, help="Return once the stack answers, and leave it running.")
@_port
@_mqtt_port
@state_dir_option
@output_option
def up(*, detach: bool, port: int | None, mqtt_port: int | None, state_dir: Path, output: str) -> None:
    """Start the control plane on this machine, or update the one that runs."""
    state = StateDir(state_dir)
    with state.alone():
        stack = local.up(state, port, mqtt_port)
    if output == "json":
        print_json(stack.public())
    else:
        out.print(f"The ECS API answers at {stack.ecs_endpoint}", soft_wrap=True)
        out.print(f"Use it: {state.use_with_aws('list-clusters')}", soft_wrap=True)
    if detach:
        return
    err.print("Running until Ctrl-C")
    try:
        while running(state):
            time.sleep(0.5)
    except KeyboardInterrupt:
        with unbroken(ending=True), state.alone():
            local.down(state)
        err.print("Down; its data is kept")
        return
    if state.emulator_process.exists():
        raise Problem(f"The local AWS has ended by itself. Its log: {state.log('emulator')}. Start again with `up`.")
    err.print("Ended by `ecs-anywhere down`")


@cli.command()
@state_dir_option
@output_option
def down(*, state_dir: Path, output: str) -> None:
    """End the local control plane, and the agent and tasks that `demo` started. Data is kept."""
    state = StateDir(state_dir)
    with state.alone(), unbroken():
        ran = local.down(state)
    if output == "json":
        print_json({"stopped": ran})
    else:
        out.print("Down; its data is kept" if ran else f"Nothing of {state_dir} was running")


@cli.command()
@state_dir_option
@stack_name_option
@output_option
def env(*, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Print what to export so that aws and boto3 use the stack."""
    stack = open_stack(stack_name, state_dir)
    found = variables(stack, stack.access_key_id, stack.secret_access_key)
    if output == "json":
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        click.echo("unset AWS_SESSION_TOKEN AWS_PROFILE  # of other credentials")


@cli.command()
@click.option("--cluster", default="default", show_default=True, help="The cluster that the machines join.")
@click.option(
    "--registration-limit", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many machines."
)
@click.option("--expires", type=DURATION, default="24h", show_default=True, help="How long: 90s, 30m, 24h, 7d.")
@click.option(
    "--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Of every machine; may be repeated."
)
@state_dir_option
@stack_name_option
@output_option
def activate(
    *,
    cluster: str,
    registration_limit: int,
    expires: int,
    attributes: tuple[str, ...],
    state_dir: Path,
    stack_name: str | None,
    output: str,
) -> None:
    """Allow machines to join a cluster, and print the line that makes one join."""
    stack = open_stack(stack_name, state_dir)
    pairs = dict(_pair(text) for text in attributes)
    made = operate(
        stack,
        "CreateActivation",
        cluster=cluster,
        registrationLimit=registration_limit,
        expiresInSeconds=expires,
        attributes=pairs,
    )
    register = [
        "ecs-anywhere-agent",
        "register",
        "--registration-endpoint",
        stack.registration_endpoint,
        "--activation-id",
        made["activationId"],
        "--activation-code",
        made["activationCode"],
    ]
    answer = {
        "activationId": made["activationId"],
        "activationCode": made["activationCode"],
        "registrationEndpoint": stack.registration_endpoint,
        "installCommand": f"{shlex.join(register)} && ecs-anywhere-agent run",
    }
    if output == "json":
        print_json(answer)
    else:
        err.print("On the machine, where ecs-anywhere-agent is installed:")
        click.echo(answer["installCommand"])


@cli.command()
@click.option("--cluster", help="Only this one.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@state_dir_option
@stack_name_option
@output_option
def status(*, cluster: str | None, watch: bool, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Instances, services, tasks and recent events at a glance."""
    ecs = ecs_client(open_stack(stack_name, state_dir))
    try:
        if output == "json":
            print_json(overview.read(ecs, cluster))
        elif watch:
            with Live(console=out, refresh_per_second=4) as live:
                while True:
                    live.update(overview.render(overview.read(ecs, cluster)))
                    time.sleep(1)
        else:
            out.print(overview.render(overview.read(ecs, cluster)))
    except (BotoCoreError, ClientError) as error:
        raise Problem(f"The ECS API does not answer: {error}. Is the stack up? `ecs-anywhere up --detach`") from error


@cli.command()
@_port
@_mqtt_port
@state_dir_option
@output_option
def demo(*, port: int | None, mqtt_port: int | None, state_dir: Path, output: str) -> None:
    """Control plane, agent, a task, a service, and the loss and replacement of a container, on this machine."""
    state = StateDir(state_dir)
    began = time.monotonic()
    with state.alone():
        result = Demo(state, port, mqtt_port).run()
    err.print(f"Done in {time.monotonic() - began:.0f} seconds")
    if output == "json":
        print_json(result)
    else:
        click.echo(next_steps(state))


@cli.command()
@click.argument("queue")
@state_dir_option
@stack_name_option
@output_option
def replay(*, queue: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Move the dead letters of QUEUE (agent-requests, task-state-changes, …) back to it: docs/operations.md."""
    answer = operate(open_stack(stack_name, state_dir), "ReplayDeadLetters", queue=queue)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"{answer['replayed']} messages go back to {queue}")


@cli.command()
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def resume(*, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Replace what vanished, however much it is: so many machines at once were taken for an outage of ours."""
    answer = operate(open_stack(stack_name, state_dir), "Resume", cluster=cluster)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Services of cluster {answer['cluster']} replace the tasks of machines that are gone.")


@cli.command()
@cluster_option
@click.option("--repair", is_flag=True, help="Write what the tasks leave.")
@state_dir_option
@stack_name_option
@output_option
def check(*, cluster: str, repair: bool, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Compare what each container instance has left with the tasks on it. It should find nothing."""
    with err.status("Checking container instances") as progress:
        result = checks.check_cluster(
            open_stack(stack_name, state_dir),
            cluster,
            repair=repair,
            told=lambda count: progress.update(f"Checking container instances: {count} so far"),
        )
    if output == "json":
        print_json(result)
    else:
        for line in checks.lines(result, repair=repair):
            out.print(line)
    if result["busy"] or result["duplicates"] or (result["differences"] and not repair):
        raise SystemExit(1)


cli.add_command(activations)
cli.add_command(deregister)
cli.add_command(duplicates)
cli.add_command(orphans)
cli.add_command(keys)
cli.add_command(credentials)
cli.add_command(configure)
cli.add_command(policies)
cli.add_command(rotate)
cli.add_command(trust)
cli.add_command(why)
cli.add_command(logs)
cli.add_command(execute)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint="--attribute")
    return name, value


def main() -> None:
    """All that the command does; see entry.py."""
    try:
        cli()
    finally:
        interrupts.ignore()
