"""The local stack: up and down. The only part that knows the emulator, besides the deployment into it."""

import subprocess
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ecs_anywhere import deployment, processes
from ecs_anywhere.console import Problem, progress
from ecs_anywhere.emulator import Emulator, running, stop, taken
from ecs_anywhere.interrupts import unbroken
from ecs_anywhere.settings import Stack, StateDir
from ecs_anywhere.stacks import ecs_client, operate

DEFAULT_PORT = 4566
DEFAULT_MQTT_PORT = 8883
RUN_TASK_EVENTS = "events/ecs-anywhere.run-task"
ANSWER_SECONDS = 60
SETTLE_SECONDS = 10.0
QUIET_SECONDS = 1.0


def up(state: StateDir, port: int | None, mqtt_port: int | None) -> Stack:
    """Start the stack, or update the one that runs. Keeps its data. Raises Problem. Under `state.alone()`."""
    known = Stack.load(state.stack_file) if state.stack_file.exists() else None
    emulator = _emulator(state, known, port, mqtt_port)
    ran = emulator.running()
    if ran and known and (_port_of(known), known.mqtt_port) != (emulator.port, emulator.mqtt_port):
        raise Problem("The stack runs on other ports. End it first: `ecs-anywhere down`.")
    try:
        if not ran:
            with progress("Starting the local AWS (MiniStack)"):
                emulator.start()
        sources = deployment.digest_of_sources()
        stack = known if known and deployment.deployed(emulator, sources) else _deploy(emulator, sources)
        with progress("Waiting for the ECS API to answer"):
            _wait_for(stack)
    except BaseException:
        with unbroken(ending=True):
            if not ran:
                emulator.abandon()
        raise
    return stack


def _deploy(emulator: Emulator, sources: str) -> Stack:
    with progress("Building the functions (sam build)"):
        deployment.build(emulator, sources)
    with progress("Deploying template.yaml (sam deploy)"):
        try:
            stack = deployment.deploy(emulator)
        except (BotoCoreError, ClientError) as error:
            raise Problem(
                f"The local AWS lacks what it has just deployed ({error}): its saved state is damaged. Remove "
                f"{emulator.state.path} and start anew."
            ) from error
    _allow_events(stack)
    with progress("Saving the local AWS's state"):
        _settle(emulator)
        emulator.restart()
    stack.save(emulator.state.stack_file)
    deployment.note_deployed(emulator, sources)
    return stack


def _allow_events(stack: Stack) -> None:
    """The events that the template hears by itself may run tasks here, unless somebody has decided about them."""
    document = {"Statement": [{"Effect": "Allow", "Action": ["ecs:RunTask", "ecs:TagResource"], "Resource": "*"}]}
    operate(stack, "PutPolicy", principal=RUN_TASK_EVENTS, name="default", document=document, unlessThereIsAny=True)


def down(state: StateDir) -> bool:
    """End the stack, and the agent and tasks of `demo`. Answers whether anything ran. Under `state.alone()`."""
    try:
        agent_ran = end_agent(state)
        if running(state) and state.stack_file.exists():
            _settle(_emulator(state, Stack.load(state.stack_file), None, None))
    finally:
        ran = stop(state)
    return ran or agent_ran


def _settle(emulator: Emulator) -> None:
    """Let functions finish what they are at: MiniStack does not save what is on its way from the table's stream."""
    sqs = deployment.client(emulator, "sqs")
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    give_up = time.monotonic() + SETTLE_SECONDS
    quiet_since = time.monotonic()
    while time.monotonic() < min(give_up, quiet_since + QUIET_SECONDS):
        queues = [url for url in sqs.list_queues().get("QueueUrls", []) if "-dlq" not in url]
        found = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"] for url in queues]
        if any(int(attributes[name]) for attributes in found for name in counts):
            quiet_since = time.monotonic()
        time.sleep(0.1)


def free_port(wanted: int) -> int:
    """That port, or the next one on which nobody listens."""
    return next((port for port in range(wanted, wanted + 100) if not taken(port)), wanted)


def end_agent(state: StateDir) -> bool:
    """End the demo's agent and its tasks, which would outlive it."""
    ran = processes.end(state.agent_process)
    if state.agent_data.exists():
        done = agent("stop-tasks", "--data-dir", str(state.agent_data))
        if done.returncode:
            raise Problem(f"The demo's tasks could not be stopped: {done.stderr.strip()}")
    return ran


def agent(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of ecs-anywhere-agent to its end. A terminal's Ctrl-C is for us alone to act upon."""
    return subprocess.run(
        [agent_command(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def agent_command() -> str:
    """ecs-anywhere-agent of the same environment."""
    return str(Path(sys.executable).parent / "ecs-anywhere-agent")


def _emulator(state: StateDir, known: Stack | None, port: int | None, mqtt_port: int | None) -> Emulator:
    """On the ports that are asked for, else on those that it had, else on the usual ones."""
    return Emulator(
        state,
        port or (_port_of(known) if known else DEFAULT_PORT),
        mqtt_port or (known.mqtt_port if known and known.mqtt_port else DEFAULT_MQTT_PORT),
    )


def _port_of(stack: Stack) -> int:
    return int((stack.aws_endpoint or f":{DEFAULT_PORT}").rsplit(":", 1)[1])


def _wait_for(stack: Stack) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            ecs_client(stack).list_clusters()
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise Problem(
                    f"The ECS API does not answer: {error}. See `emulator.log` in the state directory."
                ) from error
            time.sleep(0.3)
        else:
            return
