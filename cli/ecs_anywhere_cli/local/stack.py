"""`up` and `down` of a stack on this machine.

up:   emulator ─► sam build ─► sam deploy ─► stack.json ─► restart, which saves the emulator's state ─► answers
down: the demo's agent and tasks ─► emulator, which saves its state
"""

import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ecs_anywhere_cli.clients import ecs_client
from ecs_anywhere_cli.demo.agent import DemoAgent
from ecs_anywhere_cli.local.build import Build, checkout
from ecs_anywhere_cli.local.deploy import STACK_NAME, Deployment, parameters
from ecs_anywhere_cli.local.emulator import REGION, ROOT_KEY, Emulator, Ports
from ecs_anywhere_cli.local.loopback_emulator import LOOPBACK
from ecs_anywhere_cli.local.processes import last_lines
from ecs_anywhere_cli.local.state_dir import LocalStack, StateDir, write_private
from ecs_anywhere_cli.problem import ProblemError
from ecs_anywhere_cli.progress import Progress

DEFAULT_PORTS = Ports(http=4566, mqtt=8883)
_ANSWERS_WITHIN_SECONDS = 60.0


def wanted_ports(state_dir: StateDir, http: int | None, mqtt: int | None) -> Ports:
    """What is not asked for is as it was last: machines that have registered know the addresses."""
    last = Emulator(state_dir).last_ports() or DEFAULT_PORTS
    return Ports(http=http or last.http, mqtt=mqtt or last.mqtt)


def bring_up(state_dir: StateDir, ports: Ports, progress: Progress) -> LocalStack:
    """Create the stack, or bring a running one up to date; its data stays. Raises ProblemError.

    What is interrupted or fails leaves no process that it started, and the saved state as it was.
    """
    with state_dir.only_one():
        emulator = Emulator(state_dir)
        started = _start(emulator, ports, progress)
        try:
            stack = _deploy(state_dir, emulator, ports, progress)
            with progress.step("Waiting for the ECS API"):
                _wait_until_it_answers(stack, emulator)
        except BaseException:
            if started:
                emulator.discard()
            raise
    return stack


def bring_down(state_dir: StateDir, progress: Progress) -> bool:
    """False if nothing was running. Raises ProblemError."""
    with state_dir.only_one():
        agent = DemoAgent(state_dir)
        ended = False
        if agent.exists():
            with progress.step("Ending the demo's agent and tasks"):
                ended = agent.end()
        emulator = Emulator(state_dir)
        if emulator.running():
            with progress.step("Ending the local stack"):
                ended = emulator.end() or ended
        return ended


def watch(state_dir: StateDir) -> None:
    """Return when the emulator has ended. Raises ProblemError, since nobody asked it to."""
    emulator = Emulator(state_dir)
    while emulator.running():
        time.sleep(0.5)
    raise ProblemError(f"The local AWS has ended:\n\n{last_lines(emulator.log)}\n\nThe whole log: {emulator.log}")


def _start(emulator: Emulator, ports: Ports, progress: Progress) -> bool:
    """False if it runs already."""
    if emulator.running():
        if emulator.last_ports() == ports:
            return False
        with progress.step("Ending the local AWS, to move it to other ports"):
            emulator.end()
    with progress.step(f"Starting the local AWS (MiniStack) on port {ports.http}, MQTT on {ports.mqtt}"):
        emulator.start(ports)
    return True


def _deploy(state_dir: StateDir, emulator: Emulator, ports: Ports, progress: Progress) -> LocalStack:
    build = Build(checkout())
    if not build.exists():
        with progress.step("Building the functions (sam build)"):
            build.make(state_dir.deployment / "build.log")
    ca_pem = emulator.mqtt_ca_pem(ports)
    deployment = Deployment(build, ports, parameters(ports, ca_pem), state_dir.deployment / "deployed")
    done = deployment.done()
    if not done:
        with progress.step("Deploying the control plane (sam deploy)"):
            deployment.make(state_dir.deployment / "deploy.log")
    stack = _describe(state_dir, deployment, ports)
    write_private(state_dir.ca_file, ca_pem)
    state_dir.save(stack)
    if not done:
        with progress.step("Saving its state"):
            emulator.end()
            emulator.start(ports)
        deployment.record()
    return stack


def _describe(state_dir: StateDir, deployment: Deployment, ports: Ports) -> LocalStack:
    outputs = deployment.outputs()
    key = deployment.administrator_key()
    return LocalStack(
        ecs_endpoint=outputs["EcsEndpoint"],
        region=REGION,
        access_key_id=key["accessKeyId"],
        secret_access_key=key["secretAccessKey"],
        mqtt_host=LOOPBACK,
        mqtt_port=ports.mqtt,
        ca_file=str(state_dir.ca_file),
        registration_endpoint=outputs["RegistrationEndpoint"],
        state_dir=str(state_dir.path),
        stack_name=STACK_NAME,
        event_bus_name=outputs["EventBusName"],
        aws_endpoint=ports.aws_endpoint,
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key=ROOT_KEY,
        operator_function_name=outputs["OperatorFunctionName"],
        port=ports.http,
    )


def _wait_until_it_answers(stack: LocalStack, emulator: Emulator) -> None:
    """A signed request, through every part: API, function, key, table."""
    ecs = ecs_client(stack.ecs_endpoint, stack.region, stack.access_key_id, stack.secret_access_key)
    deadline = time.monotonic() + _ANSWERS_WITHIN_SECONDS
    while True:
        try:
            ecs.list_clusters()
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline or not emulator.running():
                raise ProblemError(
                    f"The ECS API does not answer: {error}\n\n{last_lines(emulator.log)}\n\n"
                    f"The whole log: {emulator.log}"
                ) from error
        time.sleep(0.5)


def default_state_dir() -> Path:
    return Path.home() / ".local" / "state" / "ecs-anywhere"
