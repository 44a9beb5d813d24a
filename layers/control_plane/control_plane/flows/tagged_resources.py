"""What can have tags: how each resource is found by its ARN, and how its tags are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from control_plane.domain.arns import require_resource
from control_plane.domain.capacity_provider import RESERVED
from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.errors import ClusterNotFoundException, InvalidParameterException
from control_plane.domain.own_capacity_provider import ProviderStatus
from control_plane.domain.service import ServiceStatus, with_task_sets
from control_plane.domain.tags import in_the_api, require_no_policy, require_same_policy
from control_plane.domain.task import Task
from control_plane.flows.tasks import looks_like_an_id
from control_plane.flows.tasks_to_be import tags_of_definition
from control_plane.runtime import ControlPlane
from control_plane.store import capacity_providers, clusters, instances, services, task_definitions, tasks
from control_plane.store.table import Write

Tags = dict[str, str]


class NoSuchResourceError(Exception):
    """ResourceNotFoundException, for the operations that have it."""

    def __init__(self, kind: str) -> None:
        self.message = f"The specified {kind} does not exist. Specify a valid {kind} and try again."
        super().__init__(self.message)


@dataclass(frozen=True)
class Tagged:
    """A resource's tags, and the write that replaces them if they are those still."""

    tags: Tags
    write: Callable[[Tags], Write]


def find(cp: ControlPlane, arn: str) -> Tagged:
    """Raises NoSuchResourceError, ClusterNotFoundException, InvalidParameterException."""
    kind, names = require_resource(arn, cp.arns)
    return _FINDERS[kind](cp, *names)


def _cluster(cp: ControlPlane, name: str) -> Tagged:
    cluster = _require_cluster(cp, name)
    if cluster.status is not ClusterStatus.ACTIVE:
        raise InvalidParameterException("The specified cluster is inactive. Specify an active cluster and try again.")
    return Tagged(cluster.tags, lambda after: clusters.tagged(cluster, after))


def _container_instance(cp: ControlPlane, cluster: str, instance_id: str) -> Tagged:
    """With the registration: the small item has no room for them."""
    _require_cluster(cp, cluster)
    known = looks_like_an_id(instance_id)
    instance = instances.load(cp.table, cluster, instance_id) if known else None
    registration = instances.load_registration(cp.table, cluster, instance_id) if known else None
    if instance is None or registration is None:
        raise NoSuchResourceError("container instance")
    if instance.status is InstanceStatus.INACTIVE:
        raise InvalidParameterException(
            "The specified container instance is inactive. Specify an active container instance and try again."
        )
    return Tagged(registration.tags, lambda after: instances.tagged(registration, after))


def _task(cp: ControlPlane, cluster: str, task_id: str) -> Tagged:
    found = _require_cluster(cp, cluster)
    task = tasks.load(cp.table, cluster, task_id) if looks_like_an_id(task_id) else None
    if task is None or (task.stopped and not (tasks.shown(task, cp.clock()) and found.began_before(task.updated_at))):
        raise NoSuchResourceError("task")
    if task.stopped:
        raise InvalidParameterException("The specified task is stopped. Specify a running task and try again.")

    def write(after: Tags) -> Write:
        require_same_policy(task.tags, after)
        return tasks.changed(task, _with_tags(cp, task, after))

    return Tagged(task.tags, write)


def _with_tags(cp: ControlPlane, task: Task, after: Tags) -> Task:
    return task.model_copy(update={"tags": after, "version": task.version + 1, "updated_at": cp.clock()})


def _service(cp: ControlPlane, cluster: str, name: str) -> Tagged:
    found = _require_cluster(cp, cluster)
    service = services.load(cp.table, cluster, name)
    inactive = service is not None and service.status is ServiceStatus.INACTIVE
    if service is None or (inactive and not found.began_before(service.updated_at)):
        raise NoSuchResourceError("service")
    if inactive:
        raise InvalidParameterException("The specified service is inactive. Specify an active service and try again.")
    return Tagged(service.tags, lambda after: services.changed(service, service.model_copy(update={"tags": after})))


def _task_set(cp: ControlPlane, cluster: str, name: str, prefix: str, number: str) -> Tagged:
    _require_cluster(cp, cluster)
    service = services.load(cp.table, cluster, name)
    everyone = service.task_sets if service is not None else ()
    found = next((each for each in everyone if each.task_set_id == f"{prefix}/{number}"), None)
    if service is None or found is None:
        raise NoSuchResourceError("task set")

    def write(after: Tags) -> Write:
        require_no_policy(after)
        return services.changed(service, with_task_sets(service, found.model_copy(update={"tags": after})))

    return Tagged(found.tags, write)


def _task_definition(cp: ControlPlane, name: str) -> Tagged:
    family, _, revision = name.partition(":")
    definition = task_definitions.load(cp.table, family, int(revision))
    if definition is None:
        raise NoSuchResourceError("task definition")
    return Tagged(tags_of_definition(definition), lambda after: task_definitions.tagged(definition, in_the_api(after)))


def _capacity_provider(cp: ControlPlane, name: str) -> Tagged:
    def refuse(_after: Tags) -> Write:
        raise InvalidParameterException(f"Capacity provider {name} is reserved and cannot have tags.")

    if name in RESERVED:
        return Tagged({}, refuse)
    provider = capacity_providers.load(cp.table, name)
    if provider is None:
        raise NoSuchResourceError("capacity provider")
    if provider.status is ProviderStatus.INACTIVE:
        raise InvalidParameterException(
            "The specified capacity provider is inactive. Specify an active capacity provider and try again."
        )
    return Tagged(provider.tags, lambda after: capacity_providers.written(provider.with_tags(after), provider))


def _require_cluster(cp: ControlPlane, name: str) -> Cluster:
    cluster = clusters.load(cp.table, name)
    if cluster is None:
        raise ClusterNotFoundException("Cluster not found.")
    return cluster


_FINDERS: Mapping[str, Callable[..., Tagged]] = {
    "cluster": _cluster,
    "container-instance": _container_instance,
    "task": _task,
    "service": _service,
    "task-set": _task_set,
    "task-definition": _task_definition,
    "capacity-provider": _capacity_provider,
}
