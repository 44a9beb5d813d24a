"""Amazon's own examples, as botocore has them: the same input brings the same members, and the same values.

What cannot be the same has its reason in UNLIKE or REFUSED: a difference without a reason fails, as does a reason
without a difference.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, Shape, StringShape, StructureShape
from functions.api_ecs.app import carry_out

from contract.front_door import do
from control_plane.domain.errors import EcsError
from control_plane.gateways.ecs_model import service_model
from ecs_protocol.messages import ContainerReport, NetworkBinding
from ecs_protocol.statuses import TaskStatus
from world import ADMINISTRATOR, World

EXAMPLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    example["id"]: (operation, example)
    for operation, examples in Loader().load_service_model("ecs", "examples-1")["examples"].items()
    for example in examples
}

Ids = Mapping[str, str]
"""Real ids, by what stands for them in an example."""


def nothing(_world: World) -> Ids:
    return {}


def cluster(*names: str) -> Callable[[World], Ids]:
    def prepare(world: World) -> Ids:
        for name in names:
            world.cluster(name)
        return {}

    return prepare


def register(world: World, family: str, times: int = 1, **container: Any) -> None:
    made = {"name": "main", "image": "busybox", "memory": 10, **container}
    for _ in range(times):
        do("RegisterTaskDefinition", world, family=family, containerDefinitions=[made])


def families(**revisions: range) -> Callable[[World], Ids]:
    """Of which revisions are ACTIVE; earlier ones have been deregistered."""

    def prepare(world: World) -> Ids:
        for family, active in revisions.items():
            name = family.replace("_", "-")
            register(world, name, active.stop - 1)
            for revision in range(1, active.start):
                do("DeregisterTaskDefinition", world, taskDefinition=f"{name}:{revision}")
        return {}

    return prepare


def six_revisions(world: World) -> Ids:
    world.cluster()
    register(world, "hello_world", 6)
    return {}


def service(name: str, definition: str, times: int = 1, **members: Any) -> Callable[[World], Ids]:
    def prepare(world: World) -> Ids:
        world.cluster()
        register(world, definition, times)
        do("CreateService", world, serviceName=name, taskDefinition=definition, **members)
        return {}

    return prepare


def a_service_without_room(world: World) -> Ids:
    """Its task wants a port that something else on the only machine holds."""
    world.cluster()
    register(world, "hello_world", 6, portMappings=[{"containerPort": 80, "hostPort": 80}])
    instance = world.machine(ports=(80,))
    do("CreateService", world, serviceName="ecs-simple-service", taskDefinition="hello_world", desiredCount=1)
    world.deliver()
    return {"3f4de1c5-ffdd-4954-af7e-75b4be0c8841": instance}


def wordpress(world: World) -> Ids:
    described = EXAMPLES["4c21eeb1-f1da-4a08-8c44-297fc8d0ea88"][1]["output"]["taskDefinition"]
    for _ in range(8):
        do(
            "RegisterTaskDefinition",
            world,
            family="hello_world",
            containerDefinitions=described["containerDefinitions"],
        )
    return {}


def an_instance(world: World) -> Ids:
    """Of 2,048 CPU units and 3,768 MiB, which runs a task of 100 each, on port 80."""
    world.cluster()
    instance = world.machine(cpu=2048, memory=3768, ports=(2376, 22, 51678, 2375))
    register(world, "web", cpu=100, memory=100, portMappings=[{"containerPort": 80, "hostPort": 80}])
    running(world, do("RunTask", world, taskDefinition="web")["tasks"][0]["taskArn"], instance)
    return {"f2756532-8f13-4d53-87c9-aed50dc94cd7": instance, "container_instance_UUID": instance}


def running(world: World, task_arn: str, instance: str, container: str = "main") -> None:
    report = ContainerReport(
        name=container,
        last_status=TaskStatus.RUNNING,
        network_bindings=(NetworkBinding(bind_ip="0.0.0.0", container_port=80, host_port=80),),
    )
    task_id = task_arn.rsplit("/", 1)[1]
    world.report(world.report_of(task_id, TaskStatus.RUNNING, 1, containers=(report,)), instance_id=instance)


def a_services_task(world: World) -> Ids:
    world.cluster()
    instance = world.machine()
    register(world, "amazon-ecs-sample", name="ecs-demo", portMappings=[{"containerPort": 80, "hostPort": 80}])
    do("CreateService", world, serviceName="svc", taskDefinition="amazon-ecs-sample", desiredCount=1)
    world.deliver()
    [task] = do("ListTasks", world)["taskArns"]
    running(world, task, instance, "ecs-demo")
    return {
        "c5cba4eb-5dad-405e-96db-71ef8eefe6a8": task.rsplit("/", 1)[1],
        "18f9eda5-27d7-4c19-b133-45adc516e8fb": instance,
    }


def two_tasks(world: World) -> Ids:
    world.cluster()
    instances = [world.machine(), world.machine()]
    register(world, "web")
    ids = [
        do("StartTask", world, taskDefinition="web", containerInstances=[each])["tasks"][0]["taskArn"].rsplit("/", 1)[1]
        for each in instances
    ]
    return {
        "f6bbb147-5370-4ace-8c73-c7181ded911f": instances[0],
        "0cc43cdb-3bee-4407-9c26-c0e6ea5bee84": ids[0],
        "6b809ef6-c67e-4467-921f-ee261c15a0a1": ids[1],
    }


def two_machines(world: World) -> Ids:
    world.cluster()
    names = ("f6bbb147-5370-4ace-8c73-c7181ded911f", "ffe3d344-77e2-476c-a4d0-bf560ad50acb")
    return {name: world.machine() for name in names}


def room_for_sleep(world: World) -> Ids:
    world.cluster()
    request = EXAMPLES["to-register-a-task-definition-1470764550877"][1]["input"]
    do("RegisterTaskDefinition", world, **request)
    return {"ffe3d344-77e2-476c-a4d0-bf560ad50acb": world.machine()}


def tagged(world: World) -> Ids:
    do("CreateCluster", world, clusterName="dev", tags=[{"key": "team", "value": "dev"}])
    return {}


def update_service(world: World) -> Ids:
    service("my-http-service", "old")(world)
    register(world, "amazon-ecs-sample")
    return {}


ONE = range(1, 2)
PREPARED: Mapping[str, Callable[[World], Ids]] = {
    "to-create-a-new-service-1472512584282": six_revisions,
    "to-create-a-new-service-behind-a-load-balancer-1472512484823": cluster("default"),
    "to-delete-an-empty-cluster-1472512705352": cluster("my_cluster"),
    "e8183e38-f86e-4390-b811-f74f30a6007d": service("my-http-service", "web", desiredCount=0),
    "bf624927-cf64-4f4b-8b7e-c024a4e682f6": an_instance,
    "ba88d100-9672-4231-80da-a4bd210bf728": cluster("default"),
    "c8f439de-eb27-4269-8ca7-2c0a7ba75ab0": an_instance,
    "to-describe-a-service-1472513256350": a_service_without_room,
    "4c21eeb1-f1da-4a08-8c44-297fc8d0ea88": wordpress,
    "a90b0cde-f965-4946-b55e-cfd8cc54e827": a_services_task,
    "e337d059-134f-4125-ba8e-4f499139facf": cluster("test", "default"),
    "62a82a94-713c-4e18-8420-1d2b2ba9d484": two_machines,
    "1d9a8037-4e0e-4234-a528-609656809a3a": service("my-http-service", "web"),
    "to-list-the-tags-for-a-cluster-1540582700259": tagged,
    "b5c89769-1d94-4ca2-a79e-8069103c7f75": families(node_js_app=ONE, web_timer=ONE, hpcc=ONE, hpcc_c4_8xlarge=ONE),
    "8a4cf9a6-42c1-4fe3-852d-99ac8968e11b": families(node_js_app=ONE, web_timer=ONE, hpcc=ONE, hpcc_c4_8xlarge=ONE),
    "b381ebaf-7eba-4d60-b99b-7f6ae49d3d60": families(sleep300=range(2, 3), sleep360=ONE, wordpress=range(3, 7)),
    "734e7afd-753a-4bc2-85d0-badddce10910": families(wordpress=range(3, 7)),
    "9a6ec707-1a77-45d0-b2eb-516b5dd9e924": two_tasks,
    "024bf3b7-9cbb-44e3-848f-9d074e1fecce": two_tasks,
    "6f238c83-a133-42cd-ab3d-abeca0560445": room_for_sleep,
    "to-tag-a-cluster-1540581863751": cluster("dev"),
    "to-untag-a-cluster-1540582546056": tagged,
    "cc9e8900-0cc2-44d2-8491-64d1d3d37887": update_service,
    "9581d6c5-02e3-4140-8cc1-5a4301586633": update_service,
}

REFUSED: Mapping[str, tuple[str, str]] = {
    "to-create-a-new-service-behind-a-load-balancer-1472512484823": (
        "UnsupportedFeatureException",
        "loadBalancers is not supported yet: remove it from the request.",
    )
}
"""Error and message, where the example's input is refused as a whole."""

ID = "made when it is created"
NO_USERS = "whoever calls is the account's root user"
OF_TODAY = {
    "settings[containerInstanceLongArnFormat].value": "no account has short ARNs any more",
    "settings[containerInstanceLongArnFormat].principalArn": NO_USERS,
    "settings[serviceLongArnFormat].principalArn": NO_USERS,
    "settings[taskLongArnFormat]": "on the next page: there are more settings than ten today",
}
UNLIKE: Mapping[str, Mapping[str, str]] = {
    "6f238c83-a133-42cd-ab3d-abeca0560445": {
        "tasks[0].containers[sleep].containerArn": ID,
        "tasks[0].containers[sleep].taskArn": ID,
        "tasks[0].taskArn": ID,
    },
    "a90b0cde-f965-4946-b55e-cfd8cc54e827": {
        "tasks[0].containers[ecs-demo].containerArn": ID,
        "tasks[0].startedBy": ID,
    },
    "c8f439de-eb27-4269-8ca7-2c0a7ba75ab0": {"containerInstances[0].ec2InstanceId": "no machine here is Amazon EC2's"},
    "to-create-a-new-service-1472512584282": {
        "service.deployments[0].id": ID,
        "service.deployments[1]": "a new service has one deployment; the example's service is not new",
    },
    "to-describe-a-service-1472513256350": {
        "services[0].deployments[0].id": ID,
        "services[0].events[0].id": ID,
        "services[0].events[0].message": "ends with the refusals, where Amazon's ends with a link to its guide",
    },
    "to-register-a-task-definition-1470764550877": {
        "taskDefinition.taskDefinitionArn": "the example's revision is 1, and 19 in its ARN"
    },
    "to-modify-the-account-settings-for-your-iam-user-account-1549523130939": {"setting.principalArn": NO_USERS},
    "to-delete-the-account-setting-for-your-user-account-1549524548115": {"setting.principalArn": NO_USERS},
    "to-view-your-account-settings-1549524118170": OF_TODAY,
    "to-view-the-account-settings-for-a-specific-iam-user-or-iam-role-1549524237932": OF_TODAY,
}
"""Why a member has another value here, or is not there."""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example(world: World, name: str) -> None:
    operation, example = EXAMPLES[name]
    ids = PREPARED.get(name, nothing)(world)
    body = json.dumps(_here(example.get("input", {}), ids)).encode()
    if name in REFUSED:
        with pytest.raises(EcsError) as raised:
            carry_out(world.cp, operation, body, caller=ADMINISTRATOR)
        assert (raised.value.code, raised.value.message) == REFUSED[name]
        return
    answer = json.loads(carry_out(world.cp, operation, body, caller=ADMINISTRATOR))
    shape = service_model().operation_model(operation).output_shape
    assert shape is not None
    found = list(differences(_here(example.get("output", {}), ids), answer, shape, ""))
    unlike = {path: f"{theirs!r} is {ours!r} here" for path, theirs, ours in found}
    assert unlike.keys() == UNLIKE.get(name, {}).keys(), unlike


def _here(value: Any, ids: Ids) -> Any:
    """An example as it is of this account, region and of what was prepared; ARNs are long since 2020."""
    text = json.dumps(value)
    for stands, real in ids.items():
        text = text.replace(stands, real)
    text = re.sub(r"arn:aws:ecs:[^:]*:[^:]*:", "arn:aws:ecs:eu-west-1:123456789012:", text)
    text = re.sub(r":(task|service|container-instance)/([^/\"]*)\"", r':\1/default/\2"', text)
    return json.loads(re.sub(r"arn:aws:iam::[^:]*:", "arn:aws:iam::123456789012:", text))


def differences(theirs: Any, ours: Any, shape: Shape, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths where we lack what Amazon has, or have another value; of a time only whether there is one."""
    if isinstance(shape, StructureShape) and isinstance(ours, dict):
        for name, each in theirs.items():
            yield from differences(each, ours.get(name), shape.members[name], f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape) and isinstance(shape.member, StringShape) and isinstance(ours, list):
        if sorted(theirs) != sorted(ours):
            yield path, sorted(theirs), sorted(ours)
    elif isinstance(shape, ListShape) and isinstance(ours, list):
        for index, each in enumerate(theirs):
            key = each.get("name", index)
            other = next((one for at, one in enumerate(ours) if key in {at, one.get("name")}), None)
            yield from differences(each, other, shape.member, f"{path}[{key}]")
    elif shape.type_name == "timestamp":
        if not isinstance(ours, int | float):
            yield path, theirs, ours
    elif theirs != ours:
        yield path, theirs, ours
