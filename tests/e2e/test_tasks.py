"""Tasks through unmodified clients, on real agents over MQTT with mutual TLS."""

import json
import os
import signal
import subprocess
import time
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from e2e.conftest import Agent, Stack, command, free_port, pid_of, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_the_aws_cli_runs_and_stops_a_task(stack: Stack) -> None:
    cluster = "cli"
    stack.agent(cluster)
    definition = stack.define("cli")
    ran = stack.aws("run-task", "--cluster", cluster, "--task-definition", definition, "--started-by", "me")
    [task] = ran["tasks"]
    stack.aws("wait", "tasks-running", "--cluster", cluster, "--tasks", task["taskArn"])
    assert stack.aws("list-tasks", "--cluster", cluster)["taskArns"] == [task["taskArn"]]
    stack.aws("stop-task", "--cluster", cluster, "--task", task["taskArn"], "--reason", "enough")
    stack.aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", task["taskArn"])
    [stopped] = stack.aws("describe-tasks", "--cluster", cluster, "--tasks", task["taskArn"])["tasks"]
    assert (stopped["stopCode"], stopped["stoppedReason"], stopped["startedBy"]) == ("UserInitiated", "enough", "me")
    assert stopped["containers"][0]["exitCode"] == 7  # what its handler of SIGTERM exits with


def test_a_task_that_ends_by_itself(stack: Stack) -> None:
    cluster = "ends"
    stack.agent(cluster)
    arn = stack.run(cluster, stack.define("ends", "exit 3"))
    stopped = stack.until_task_is(cluster, arn, "STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert stopped["containers"][0]["exitCode"] == 3


def test_out_of_resources(stack: Stack) -> None:
    cluster = "full"
    agent = stack.agent(cluster)
    definition = stack.define("huge", memory=10_000_000)
    answer = stack.ecs.run_task(cluster=cluster, taskDefinition=definition)
    assert answer["tasks"] == []
    [failure] = answer["failures"]
    assert (failure["arn"], failure["reason"]) == (agent.arn, "RESOURCE:MEMORY")


def test_unknown_and_unsigned_requests(stack: Stack) -> None:
    with pytest.raises(stack.ecs.exceptions.UnsupportedFeatureException):
        stack.ecs.list_daemons()
    forged = Stack(stack.state, stack.port, stack.mqtt_port, {**stack.about, "secretAccessKey": "wrong"})
    with pytest.raises(Exception, match="InvalidSignatureException"):
        forged.ecs.list_clusters()


def test_a_service_keeps_its_tasks(stack: Stack) -> None:
    cluster = "service"
    stack.agent(cluster)
    definition = stack.define("service")
    stack.ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=3)
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    arns = stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    os.kill(pid_of(stack.task(cluster, arns[0])), signal.SIGKILL)
    stopped = stack.until_task_is(cluster, arns[0], "STOPPED")
    assert stopped["containers"][0]["exitCode"] == 137
    until("it is replaced", lambda: len(set(stack.ecs.list_tasks(cluster=cluster)["taskArns"]) - {arns[0]}) == 3)
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    stack.ecs.update_service(cluster=cluster, service="web", desiredCount=1)
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    stack.ecs.delete_service(cluster=cluster, service="web", force=True)
    until(
        "it is inactive",
        lambda: stack.ecs.describe_services(cluster=cluster, services=["web"])["services"][0]["status"] == "INACTIVE",
    )


def test_a_killed_agent_loses_no_task_and_no_exit_code(stack: Stack) -> None:
    cluster = "killed"
    agent = stack.agent(cluster)
    stays = stack.run(cluster, stack.define("stays"))
    ends = stack.run(cluster, stack.define("ends-later", "sleep 4; exit 5"))
    for arn in (stays, ends):
        stack.until_task_is(cluster, arn, "RUNNING")
    pid = pid_of(stack.task(cluster, stays))
    agent.kill()
    time.sleep(5)
    os.kill(pid, 0)  # it runs on, without an agent
    agent.start()
    stopped = stack.until_task_is(cluster, ends, "STOPPED")
    assert stopped["containers"][0]["exitCode"] == 5
    assert stack.task(cluster, stays)["lastStatus"] == "RUNNING"
    assert pid_of(stack.task(cluster, stays)) == pid


def test_what_ends_while_the_agent_is_away_is_told_later(stack: Stack) -> None:
    cluster = "away"
    agent = stack.agent(cluster)
    arn = stack.run(cluster, stack.define("away"))
    pid = pid_of(stack.until_task_is(cluster, arn, "RUNNING"))
    agent.stop()
    until("it is seen disconnected", lambda: not stack.instance(agent)["agentConnected"])
    assert stack.task(cluster, arn)["connectivity"] == "DISCONNECTED"
    os.kill(pid, signal.SIGKILL)
    assert stack.task(cluster, arn)["lastStatus"] == "RUNNING"
    agent.start()
    assert stack.until_task_is(cluster, arn, "STOPPED")["containers"][0]["exitCode"] == 137


def test_state_messages_that_come_twice_and_in_the_wrong_order(stack: Stack) -> None:
    """Sent with the agent's own certificate, while the agent is away."""
    cluster = "order"
    agent = stack.agent(cluster)
    arn = stack.run(cluster, stack.define("order"))
    task_id = arn.rsplit("/", 1)[1]
    stack.until_task_is(cluster, arn, "RUNNING")
    before = stack.instance(agent)["remainingResources"]
    agent.stop()

    def report(number: int, status: str, exit_code: int | None = None) -> str:
        container = {"name": "main", "lastStatus": status, **({} if exit_code is None else {"exitCode": exit_code})}
        task = {"taskId": task_id, "epoch": 1000, "number": number, "lastStatus": status, "containers": [container]}
        return json.dumps({"type": "TaskStateChanges", "reports": [task]})

    last = report(3, "STOPPED", 9)
    publish_as(agent, [report(2, "STOPPING"), last, last, report(1, "RUNNING"), last])
    stopped = stack.until_task_is(cluster, arn, "STOPPED")
    assert stopped["containers"][0]["exitCode"] == 9
    time.sleep(3)
    left = {each["name"]: each["integerValue"] for each in stack.instance(agent)["remainingResources"]}
    held = {each["name"]: each["integerValue"] for each in before}
    assert (left["CPU"] - held["CPU"], left["MEMORY"] - held["MEMORY"]) == (10, 16)
    assert stack.task(cluster, arn)["lastStatus"] == "STOPPED"


def publish_as(agent: Agent, payloads: list[str]) -> None:
    """Publish task state changes under an agent's identity, in this order."""
    folder = agent.data / "identity"
    identity = json.loads((folder / "identity.json").read_text())
    host, port = identity["mqttEndpoint"].rsplit(":", 1)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=identity["clientId"])
    client.tls_set(str(folder / "mqtt-ca.pem"), str(folder / "certificate.pem"), str(folder / "key.pem"))
    client.connect(host, int(port))
    client.loop_start()
    for payload in payloads:
        client.publish(identity["topics"]["taskStateChanges"], payload, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_the_emulator_dies_over_running_tasks(stack: Stack) -> None:
    """Its state goes back to the last save, which knows neither the cluster's tasks nor all of its instances."""
    cluster = "survives"
    agent = stack.agent(cluster)
    arn = stack.run(cluster, stack.define("survives"))
    pid = pid_of(stack.until_task_is(cluster, arn, "RUNNING"))
    noted = json.loads((stack.state / "emulator.pid").read_text())
    os.kill(noted["pid"], signal.SIGKILL)
    time.sleep(1)
    stack.up()
    time.sleep(8)
    os.kill(pid, 0)
    agent.clean_up()


def test_events_reach_a_rule_and_an_event_runs_a_task(stack: Stack) -> None:
    cluster = "events"
    sqs, events = stack.client("sqs"), stack.client("events")
    queue = sqs.create_queue(QueueName="seen")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = stack.about["eventBusName"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["ecs.anywhere"]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "seen", "Arn": queue_arn}])
    stack.agent(cluster)
    stack.define("events", "exit 0")
    detail = {"cluster": cluster, "taskDefinition": "events", "startedBy": "an event"}
    entry = {"Source": "ecs-anywhere.run-task", "DetailType": "Run Task", "EventBusName": bus}
    events.put_events(Entries=[{**entry, "Detail": json.dumps(detail)}])
    events.put_events(Entries=[{**entry, "Detail": json.dumps({**detail, "taskDefinition": "nothing"})}])
    seen: list[dict[str, Any]] = []

    def receive() -> bool:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            seen.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        kinds = {event["detail-type"] for event in seen}
        stopped = any(event["detail"].get("lastStatus") == "STOPPED" for event in seen)
        return stopped and "Run Task Failed" in kinds

    until("the task's end and the refusal are told", receive)
    states = [event["detail"] for event in seen if event["detail-type"] == "ECS Task State Change"]
    mine = {detail["version"]: detail["lastStatus"] for detail in states if detail.get("startedBy") == "an event"}
    assert mine[1] == "PENDING"
    assert mine[max(mine)] == "STOPPED"
    assert sorted(mine) == list(range(1, len(mine) + 1))
    [failed] = [event["detail"] for event in seen if event["detail-type"] == "Run Task Failed"]
    assert failed["error"] == "ClientException"


RUN_TASK = """{"id": <id>, "time": <time>, "source": "ecs-anywhere.run-task",
  "resources": [<aws.events.rule-arn>], "detail": {"cluster": "rules", "taskDefinition": "guide",
  "overrides": {"containerOverrides": [{"name": "main", "environment": [{"name": "KEY", "value": <key>}]}]}}}"""
"""As docs/guide.md shows it, in the place of an ECS target."""


def test_a_rule_of_ones_own_runs_a_task(stack: Stack) -> None:
    """What its name is for, the emulator does not ask: tests/contract/test_template.py does."""
    cluster = "rules"
    stack.agent(cluster)
    stack.define("guide", "exit 0")
    sqs, events = stack.client("sqs"), stack.client("events")
    prefix = stack.about["eventBusName"]
    url = sqs.get_queue_url(QueueName=f"{prefix}-run-task")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    paths = {"id": "$.id", "time": "$.time", "key": "$.detail.key"}
    rule = f"{prefix}-run-task-upload"
    target = {"Id": "run", "Arn": queue, "InputTransformer": {"InputPathsMap": paths, "InputTemplate": RUN_TASK}}
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["my.uploads"]}))
    events.put_targets(Rule=rule, Targets=[target])
    events.put_events(Entries=[{"Source": "my.uploads", "DetailType": "Upload", "Detail": '{"key": "a.csv"}'}])

    def ended() -> list[str]:
        arns: list[str] = stack.ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
        return arns

    [arn] = until("the task has run", ended)
    task = stack.task(cluster, arn)
    [override] = task["overrides"]["containerOverrides"]
    assert task["startedBy"] == f"events-rule/{rule}"[:36]
    assert override["environment"] == [{"name": "KEY", "value": "a.csv"}]


@pytest.mark.docker
def test_a_container(stack: Stack, docker_image: str) -> None:
    cluster = "docker"
    agent = stack.agent(cluster, "docker")
    definition = stack.define("docker", image=docker_image)
    arn = stack.run(cluster, definition)
    task = stack.until_task_is(cluster, arn, "RUNNING")
    listed = subprocess.run(["docker", "ps", "--quiet", "--no-trunc"], capture_output=True, text=True, check=True)
    assert task["containers"][0]["runtimeId"] in listed.stdout.split()
    agent.kill()
    agent.start()
    until("the agent is back", lambda: stack.instance(agent)["agentConnected"])
    assert stack.task(cluster, arn)["lastStatus"] == "RUNNING"
    stack.ecs.stop_task(cluster=cluster, task=arn)
    assert stack.until_task_is(cluster, arn, "STOPPED")["containers"][0]["exitCode"] == 7
    failing = stack.run(cluster, stack.define("docker-fails", "exit 4", image=docker_image))
    assert stack.until_task_is(cluster, failing, "STOPPED")["containers"][0]["exitCode"] == 4


def test_two_stacks_side_by_side(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Stack(tmp_path_factory.mktemp("other") / "state", free_port(), free_port())
    try:
        other.up()
        other.ecs.create_cluster(clusterName="only-here")
        assert all("only-here" not in arn for arn in stack.ecs.list_clusters()["clusterArns"])
        with pytest.raises(Exception, match=r"UnrecognizedClientException|InvalidSignatureException"):
            Stack(other.state, other.port, other.mqtt_port, {**other.about, **_key(stack)}).ecs.list_clusters()
    finally:
        other.down()
    assert stack.ecs.list_clusters()["clusterArns"]
    overview = json.loads(command("ecs-anywhere", "status", "--output", "json", "--state-dir", str(stack.state)))
    assert set(overview) == {"clusters", "containerInstances", "services", "tasks", "events"}


def _key(stack: Stack) -> dict[str, str]:
    return {name: stack.about[name] for name in ("accessKeyId", "secretAccessKey")}
