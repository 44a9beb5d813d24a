"""PutAttributes, DeleteAttributes.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutAttributes.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteAttributes.html
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain import attributes
from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.errors import InvalidParameterException, TargetNotFoundException
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instance_settings, instances

Given = dict[str, str | None]
"""Values by name; None where the request has none."""

TARGET_TYPE = "container-instance"


def put_attributes(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {attributes}. All of a request are put, or none is."""
    cluster = require_cluster(cp, request.get("cluster"))
    targets = _targets(request, cluster)
    _change(cp, cluster, targets, attributes.put)
    return {
        "attributes": [
            described(cp, cluster, instance_id, name, value or "")
            for instance_id, given in targets.items()
            for name, value in given.items()
        ]
    }


def delete_attributes(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {attributes}: those that were there. A value, where one is given, must be the attribute's."""
    cluster = require_cluster(cp, request.get("cluster"))
    targets = _targets(request, cluster)

    def without(instance: ContainerInstance, given: Given) -> ContainerInstance:
        capabilities = cp.fleet.capabilities_of(instance)
        there = attributes.attributes_of(instance, capabilities)
        for name, value in given.items():
            if value is not None and there.get(name, value) != value:
                raise InvalidParameterException(
                    f"Attribute {name} of {instance.instance_id} has another value. Leave the value out to delete it."
                )
        return attributes.delete(instance, capabilities, given)

    before = _change(cp, cluster, targets, without)
    return {
        "attributes": [
            described(cp, cluster, instance_id, name, there[name])
            for instance_id, given in targets.items()
            for there in [attributes.attributes_of(before[instance_id], cp.fleet.capabilities_of(before[instance_id]))]
            for name in given
            if name in there
        ]
    }


def _targets(request: Mapping[str, Any], cluster: Cluster) -> dict[str, Given]:
    """What a request says of each container instance. Raises InvalidParameterException, TargetNotFoundException."""
    targets: dict[str, Given] = defaultdict(dict)
    for attribute in request["attributes"]:
        target = attribute.get("targetId")
        if not target:
            raise InvalidParameterException("An attribute needs the targetId of a container instance.")
        if not target.startswith("arn:") and "targetType" not in attribute:
            raise InvalidParameterException("targetType must be specified if targetId is not a full ARN.")
        attributes.check_attribute(attribute["name"], attribute.get("value"))
        instance_id = identifier(target, cluster)
        of_a_kind = not target.startswith("arn:") or f":{TARGET_TYPE}/" in target
        if not of_a_kind or not looks_like_an_id(instance_id):
            raise _not_found(target)
        targets[instance_id][attribute["name"]] = attribute.get("value")
    return dict(targets)


def _change(
    cp: ControlPlane,
    cluster: Cluster,
    targets: Mapping[str, Given],
    change: Callable[[ContainerInstance, Given], ContainerInstance],
) -> dict[str, ContainerInstance]:
    """Commit what `change` makes of each instance, all at once. Answers the instances as they were."""

    def decide_and_commit(_attempt: int) -> dict[str, ContainerInstance]:
        found = instances.load_many(cp.table, [(cluster.name, instance_id) for instance_id in targets])
        now = cp.clock()
        writes, known = [], {}
        for instance_id, given in targets.items():
            before = found.get((cluster.name, instance_id))
            if before is None or before.status is InstanceStatus.INACTIVE:
                raise _not_found(instance_id)
            known[instance_id] = before
            after = change(before, given)
            if after != before:
                writes.append(instance_settings.attributes_changed(before, after, now, daemons=cluster.daemons))
        if writes:
            cp.table.commit(writes)
        return known

    before = until_answered(cp, decide_and_commit, what="container instance")
    cp.fleet.forget(cluster.name)
    return before


def described(cp: ControlPlane, cluster: Cluster, instance_id: str, name: str, value: str) -> dict[str, str]:
    """An attribute of an instance, as an answer has it."""
    arn = cp.arns.container_instance(cluster.name, instance_id)
    return {**attributes.described(name, value), "targetType": TARGET_TYPE, "targetId": arn}


def _not_found(target: str) -> TargetNotFoundException:
    return TargetNotFoundException(f"The specified target could not be found: {target[:300]}")
