"""Instances, services, tasks and events at a glance."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

EVENTS_SHOWN = 10
_COLOURS = {"RUNNING": "green", "ACTIVE": "green", "STOPPED": "red", "INACTIVE": "red"}

Overview = dict[str, list[dict[str, Any]]]


def read(ecs: Any, only: str | None = None) -> Overview:
    """{clusters, containerInstances, services, tasks, events}, in the shapes of the Describe calls."""
    overview: Overview = {"clusters": [], "containerInstances": [], "services": [], "tasks": [], "events": []}
    names = [only] if only else _all(ecs, "list_clusters", "clusterArns")
    if not names:
        return overview
    overview["clusters"] = ecs.describe_clusters(clusters=names)["clusters"]
    for cluster in (each["clusterArn"] for each in overview["clusters"]):
        for chunk in _chunks(_all(ecs, "list_container_instances", "containerInstanceArns", cluster=cluster), 100):
            answer = ecs.describe_container_instances(
                cluster=cluster, containerInstances=chunk, include=["CONTAINER_INSTANCE_HEALTH"]
            )
            overview["containerInstances"] += answer["containerInstances"]
        for chunk in _chunks(_all(ecs, "list_services", "serviceArns", cluster=cluster), 10):
            overview["services"] += ecs.describe_services(cluster=cluster, services=chunk)["services"]
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in _all(ecs, "list_tasks", "taskArns", cluster=cluster, desiredStatus=status)
        ]
        for chunk in _chunks(arns, 100):
            overview["tasks"] += ecs.describe_tasks(cluster=cluster, tasks=chunk)["tasks"]
    events = [event for service in overview["services"] for event in service["events"]]
    overview["events"] = sorted(events, key=lambda event: str(event["createdAt"]), reverse=True)[:EVENTS_SHOWN]
    return overview


def _all(ecs: Any, operation: str, member: str, **request: Any) -> list[str]:
    pages = ecs.get_paginator(operation).paginate(**request)
    return [arn for page in pages for arn in page[member]]


def _chunks(members: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (members[start : start + size] for start in range(0, len(members), size))


def render(overview: Overview) -> RenderableType:
    """Tables for people."""
    if not overview["clusters"]:
        return "No clusters yet. Create one: aws ecs create-cluster"
    instances = _table("Container instances", "id", "status", "agent", "tasks", "CPU left", "MiB left")
    for each in overview["containerInstances"]:
        left = {resource["name"]: resource["integerValue"] for resource in each["remainingResources"]}
        instances.add_row(
            _id(each["containerInstanceArn"]),
            _coloured(each["status"]),
            _agent(each),
            str(each["runningTasksCount"] + each["pendingTasksCount"]),
            str(left["CPU"]),
            str(left["MEMORY"]),
        )
    services = _table("Services", "name", "status", "task definition", "desired", "running", "pending")
    for each in overview["services"]:
        services.add_row(
            each["serviceName"],
            _coloured(each["status"]),
            _id(each["taskDefinition"]),
            str(each["desiredCount"]),
            str(each["runningCount"]),
            str(each["pendingCount"]),
        )
    return Group(instances, services, tasks_table(overview["tasks"]), _events(overview["events"]))


def _agent(instance: dict[str, Any]) -> str:
    """IMPAIRED though connected: several machines use its identity."""
    if not instance["agentConnected"]:
        return "[red]not connected[/]"
    impaired = instance.get("healthStatus", {}).get("overallStatus") == "IMPAIRED"
    return "[red]two machines[/]" if impaired else "[green]connected[/]"


def tasks_table(tasks: Sequence[dict[str, Any]]) -> Table:
    """The stopped ones last."""
    table = _table("Tasks", "id", "group", "status", "wanted", "exit", "why")
    for each in sorted(
        tasks, key=lambda task: (task["lastStatus"] == "STOPPED", task["group"], str(task["createdAt"]))
    ):
        codes = [str(container["exitCode"]) for container in each["containers"] if "exitCode" in container]
        table.add_row(
            _id(each["taskArn"])[:12],
            each["group"],
            _coloured(each["lastStatus"]),
            each["desiredStatus"],
            ", ".join(codes),
            each.get("stoppedReason", ""),
        )
    return table


def _events(events: Sequence[dict[str, Any]]) -> Table:
    table = _table("Recent events", "at", "message")
    for event in events:
        at = event["createdAt"]
        table.add_row(at.astimezone().strftime("%H:%M:%S") if isinstance(at, datetime) else str(at), event["message"])
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _id(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'yellow')}]{status}[/]"
