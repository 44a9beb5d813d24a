"""Machines whose network goes away: real agents, a real control plane, and a cable between them that can be cut."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.conftest import BIN, Agent, Stack, clean_environment, command, free_port, pid_of, until
from e2e.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Join = Callable[..., tuple[Agent, Proxy]]
DISCONNECT = "ecs-anywhere:disconnect"


@pytest.fixture
def join(stack: Stack) -> Iterator[Join]:
    """A machine that has joined a cluster over a network that can be cut."""
    proxies: list[Proxy] = []

    def make(cluster: str, runtime: str = "process") -> tuple[Agent, Proxy]:
        agent = stack.agent(cluster, runtime)
        agent.stop()
        path = agent.data / "identity" / "identity.json"
        identity = json.loads(path.read_text())
        host, port = identity["mqttEndpoint"].rsplit(":", 1)
        proxy = Proxy(int(port))
        proxies.append(proxy)
        path.write_text(json.dumps({**identity, "mqttEndpoint": f"{host}:{proxy.port}"}))
        agent.start()
        until("it is connected over its own network", lambda: on_machine(agent, code=0))
        return agent, proxy

    yield make
    for proxy in proxies:
        proxy.close()


def on_machine(agent: Agent, code: int | None = None) -> dict[str, Any]:
    """What `status` says there; nothing if it ends with another exit code than the one that is wanted."""
    asked = [str(BIN / "ecs-anywhere-agent"), "status", "--output", "json", "--data-dir", str(agent.data)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env=clean_environment(), timeout=60)
    if code is not None and done.returncode != code:
        return {}
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def task_there(agent: Agent, arn: str) -> dict[str, Any]:
    [task] = [each for each in on_machine(agent)["tasks"] if arn.endswith(each["taskId"])]
    found: dict[str, Any] = task
    return found


def serve(stack: Stack, cluster: str, desired: int, disconnect: str | None = None, **members: Any) -> list[str]:
    """The tasks of a service that runs."""
    definition = stack.define(f"offline-{cluster}", **members)
    tags = [{"key": DISCONNECT, "value": disconnect}] if disconnect else []
    stack.ecs.create_service(
        cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=desired, tags=tags
    )
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    arns: list[str] = stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    return arns


def service(stack: Stack, cluster: str) -> dict[str, Any]:
    described: dict[str, Any] = stack.ecs.describe_services(cluster=cluster, services=["web"])["services"][0]
    return described


def disconnected(stack: Stack, agent: Agent, seconds: float = 60) -> None:
    until("it is seen disconnected", lambda: not stack.instance(agent)["agentConnected"], seconds)


def restarts_told(stack: Stack, cluster: str, arn: str) -> dict[str, str]:
    """What the control plane has heard of what the machine did while it was cut off."""
    attributes = {each["name"]: each["value"] for each in stack.task(cluster, arn)["attributes"]}
    return {name: value for name, value in attributes.items() if name.startswith("ecs-anywhere.")}


def test_cut_off_a_service_goes_on_and_says_so_afterwards(stack: Stack, join: Join) -> None:
    cluster = "cut-off"
    agent, network = join(cluster)
    [arn] = serve(stack, cluster, 1)
    once = stack.run(cluster, stack.define("cut-off-once"))
    first, job = (pid_of(stack.until_task_is(cluster, each, "RUNNING")) for each in (arn, once))
    network.cut()
    until("the agent knows", lambda: on_machine(agent, code=2))
    for pid in (first, job):
        os.kill(pid, signal.SIGKILL)
    until("it runs again", lambda: task_there(agent, arn)["restarts"] == 1)
    until("the job has ended", lambda: task_there(agent, once)["lastStatus"] == "STOPPED")
    disconnected(stack, agent)
    assert stack.task(cluster, arn)["lastStatus"] == "RUNNING"
    network.heal()
    told = until("it is told", lambda: restarts_told(stack, cluster, arn))
    assert told == {"ecs-anywhere.restarts": "1", "ecs-anywhere.lastExitCode": "main=137"}
    task = stack.task(cluster, arn)
    assert (task["lastStatus"], task["connectivity"]) == ("RUNNING", "CONNECTED")
    assert pid_of(task) != first
    os.kill(pid_of(task), 0)
    assert stack.until_task_is(cluster, once, "STOPPED")["stopCode"] == "EssentialContainerExited"
    described = service(stack, cluster)
    assert (described["runningCount"], described["deployments"][0]["failedTasks"]) == (1, 0)
    assert any("was started again by its container instance 1 times" in each["message"] for each in described["events"])


def test_an_end_that_nobody_heard(stack: Stack, join: Join) -> None:
    """The unsure minute: the cable is pulled, the container ends, and only then anybody knows of the cable."""
    cluster = "unsure"
    agent, network = join(cluster)
    [arn] = serve(stack, cluster, 1)
    first = pid_of(stack.until_task_is(cluster, arn, "RUNNING"))
    network.swallow()
    os.kill(first, signal.SIGKILL)
    until("the agent stops the task", lambda: task_there(agent, arn)["lastStatus"] == "STOPPED")
    until("the agent finds itself cut off and starts it again", lambda: task_there(agent, arn)["restarts"] == 1, 120)
    disconnected(stack, agent)
    network.heal()
    until("it is told", lambda: restarts_told(stack, cluster, arn))
    assert stack.task(cluster, arn)["lastStatus"] == "RUNNING"
    assert service(stack, cluster)["runningCount"] == 1
    assert stack.ecs.list_tasks(cluster=cluster)["taskArns"] == [arn]


@pytest.mark.docker
def test_rebooted_without_network(stack: Stack, join: Join, docker_image: str) -> None:
    """Agent and container are killed together; nobody but the agent's own store says that it should run."""
    cluster = "rebooted"
    agent, network = join(cluster, "docker")
    [arn] = serve(stack, cluster, 1, image=docker_image)
    container = stack.until_task_is(cluster, arn, "RUNNING")["containers"][0]["runtimeId"]
    network.cut()
    agent.kill()
    subprocess.run(["docker", "kill", container], capture_output=True, check=True)
    agent.start()

    def runs() -> bool:
        asked = ["docker", "inspect", "--format", "{{.State.Running}}", container]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "true"

    time.sleep(5)
    assert not runs(), "it waits for a connection first"
    until("the same container runs again", runs, 90)
    network.heal()
    until("it is told", lambda: restarts_told(stack, cluster, arn), 180)
    assert stack.task(cluster, arn)["containers"][0]["runtimeId"] == container


def test_a_restored_backup_stops_no_healthy_work(tmp_path_factory: pytest.TempPathFactory) -> None:
    """docs/operations.md, "Restoring the table", step by step, on a stack of its own."""
    folder = tmp_path_factory.mktemp("restored")
    stack = Stack(folder / "state", free_port(), free_port())
    try:
        stack.up()
        agent = stack.agent("default")
        [kept] = serve(stack, "default", 1)
        command("ecs-anywhere", "down", "--state-dir", str(stack.state))
        shutil.copytree(stack.state, folder / "backup")
        stack.up()
        until("the agent is back", lambda: stack.instance(agent)["agentConnected"], 180)

        once = stack.run("default", stack.define("restored"))
        stack.ecs.update_service(cluster="default", service="web", desiredCount=2)
        stack.aws("wait", "services-stable", "--services", "web")
        tasks = {arn: stack.task("default", arn) for arn in stack.ecs.list_tasks()["taskArns"]}
        assert len(tasks) == 3
        command("ecs-anywhere", "down", "--state-dir", str(stack.state))
        shutil.rmtree(stack.state)
        shutil.copytree(folder / "backup", stack.state)
        stack.up()
        until("the agent is back", lambda: stack.instance(agent)["agentConnected"], 180)

        def listed() -> list[dict[str, Any]]:
            orphans = json.loads(_orphans(stack, "list"))["orphans"]
            return orphans if len(orphans) == 2 else []

        orphans = until("both tasks that the backup does not know are told", listed, 120)
        for task in tasks.values():
            os.kill(pid_of(task), 0)
        assert {each["taskId"] for each in orphans} == {arn.rsplit("/", 1)[1] for arn in tasks if arn != kept}
        definition = stack.define("restored")
        assert definition.endswith("restored:1")
        _orphans(stack, "adopt", once.rsplit("/", 1)[1])
        assert stack.task("default", once)["lastStatus"] == "RUNNING"
        until("its machine reports it", lambda: "runtimeId" in stack.task("default", once)["containers"][0])
        assert pid_of(stack.task("default", once)) == pid_of(tasks[once])
        assert {arn for arn in stack.ecs.list_tasks()["taskArns"] if arn in tasks} == {kept, once}
        [surplus] = [arn for arn in tasks if arn not in {kept, once}]
        _orphans(stack, "stop", surplus)
        until("no orphan is left", lambda: json.loads(_orphans(stack, "list"))["orphans"] == [])
        with pytest.raises(ProcessLookupError):
            os.kill(pid_of(tasks[surplus]), 0)
        checked = json.loads(command("ecs-anywhere", "check", "--output", "json", "--state-dir", str(stack.state)))
        assert checked == {"checked": 1, "differences": [], "busy": [], "duplicates": []}
        stack.ecs.stop_task(task=once)
        stack.until_task_is("default", once, "STOPPED")
    finally:
        stack.down()


def _orphans(stack: Stack, *arguments: str) -> str:
    return command("ecs-anywhere", "orphans", *arguments, "--output", "json", "--state-dir", str(stack.state))


@pytest.fixture
def sweeping(stack: Stack) -> Iterator[None]:
    """The sweeper comes every few seconds, to save minutes."""
    client, ended = stack.client("lambda"), threading.Event()
    [name] = [
        function["FunctionName"]
        for page in client.get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if function["FunctionName"].endswith("cron-sweep")
    ]

    def sweep() -> None:
        while not ended.wait(5):
            client.invoke(FunctionName=name)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    yield
    ended.set()
    sweeper.join()


@pytest.mark.usefixtures("sweeping")
def test_tasks_of_machines_that_do_not_come_back(stack: Stack, join: Join) -> None:
    """Three clusters at the same time, since each has to wait for minutes."""
    (one, _), _ = join("replaced"), join("replaced")
    (cut, network), _ = join("limited"), join("limited")
    many = [join("mass") for _ in range(3)]
    replaced = serve(stack, "replaced", 2, "replace-after=60s")
    limited = serve(stack, "limited", 2, "stop-after=60s")
    serve(stack, "mass", 3, "replace-after=60s")

    def tasks_on(agent: Agent) -> list[str]:
        found = stack.ecs.list_tasks(cluster=agent.cluster, containerInstance=agent.arn)["taskArns"]
        arns: list[str] = found
        return arns

    [original], [may_run_once] = tasks_on(one), tasks_on(cut)
    assert original in replaced
    assert may_run_once in limited
    there = pid_of(stack.task("limited", may_run_once))
    one.kill()
    network.cut()
    cut_at = time.monotonic()
    for agent, _ in many[:2]:
        agent.kill()
    disconnected(stack, one)
    disconnected(stack, cut)

    def gone(pid: int) -> float | None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return time.monotonic()
        return None

    def in_place(cluster: str, old: list[str]) -> list[str]:
        running = stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
        return [arn for arn in running if arn not in old and stack.task(cluster, arn)["lastStatus"] == "RUNNING"]

    stopped_at = until("the machine stops the task by itself", lambda: gone(there), 120)
    assert not in_place("limited", limited), "its replacement waits until it must have stopped"
    [substitute] = until("the task is replaced", lambda: in_place("replaced", replaced), 180)
    until("the stop-after task is replaced", lambda: in_place("limited", limited), 240)
    assert 25 < stopped_at - cut_at < 75
    assert time.monotonic() - cut_at > 60 + 5 + 30
    assert task_there(cut, may_run_once)["lastStatus"] == "STOPPED"

    def told() -> list[str]:
        return [event["message"] for event in service(stack, "mass")["events"]]

    until("replacing is held", lambda: any("starts nothing in place of" in message for message in told()), 120)
    assert len(tasks_on(many[2][0])) == 1
    command("ecs-anywhere", "resume", "--cluster", "mass", "--state-dir", str(stack.state))

    one.start()
    until("the surplus goes", lambda: substitute not in in_place("replaced", replaced), 120)
    assert stack.task("replaced", original)["lastStatus"] == "RUNNING"
    network.heal()
    told_within = 400  # refused eight times, the machine tries again within 256 seconds
    until("it is told", lambda: stack.task("limited", may_run_once)["lastStatus"] == "STOPPED", told_within)
    until("the tasks of both machines are replaced", lambda: len(tasks_on(many[2][0])) == 3, 240)
