"""POST / by any ECS client (JSON 1.1, Signature Version 4): one ECS operation."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from control_plane.domain.authorization import AgentOf, Caller
from control_plane.domain.errors import EcsError, ServerException, ThrottlingException
from control_plane.domain.races import LostRace
from control_plane.domain.request_checks import check_limits, refusal_of_operation, refuse_unsupported
from control_plane.flows import (
    account_settings,
    amazon_agents,
    attributes,
    capacity_providers,
    clusters,
    container_instances,
    delete_cluster,
    execute_command,
    list_container_instances,
    list_services,
    list_task_definitions,
    list_tasks,
    run_task,
    service_deployments,
    services,
    stop_task,
    tags,
    task_definitions,
    task_protection,
    task_sets,
    tasks,
)
from control_plane.flows.authenticate import authenticate
from control_plane.flows.authorize import authorize
from control_plane.gateways.ecs_model import operation_of, parse_body, serialise, service_model, validate_request
from control_plane.gateways.sigv4_forms import SignedRequest
from control_plane.runtime import ControlPlane, control_plane

logger = Logger()

OPERATIONS: Mapping[str, Callable[[ControlPlane, Mapping[str, Any]], dict[str, Any]]] = {
    "CreateCluster": clusters.create_cluster,
    "DescribeClusters": clusters.describe_clusters,
    "ListClusters": clusters.list_clusters,
    "UpdateCluster": clusters.update_cluster,
    "UpdateClusterSettings": clusters.update_cluster_settings,
    "PutClusterCapacityProviders": clusters.put_cluster_capacity_providers,
    "DeleteCluster": delete_cluster.delete_cluster,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
    "PutAccountSetting": account_settings.put_account_setting,
    "PutAccountSettingDefault": account_settings.put_account_setting_default,
    "DeleteAccountSetting": account_settings.delete_account_setting,
    "ListAccountSettings": account_settings.list_account_settings,
    "CreateCapacityProvider": capacity_providers.create_capacity_provider,
    "DescribeCapacityProviders": capacity_providers.describe_capacity_providers,
    "UpdateCapacityProvider": capacity_providers.update_capacity_provider,
    "DeleteCapacityProvider": capacity_providers.delete_capacity_provider,
    "RegisterTaskDefinition": task_definitions.register_task_definition,
    "DescribeTaskDefinition": task_definitions.describe_task_definition,
    "DeregisterTaskDefinition": task_definitions.deregister_task_definition,
    "DeleteTaskDefinitions": task_definitions.delete_task_definitions,
    "ListTaskDefinitions": list_task_definitions.list_task_definitions,
    "ListTaskDefinitionFamilies": list_task_definitions.list_task_definition_families,
    "RunTask": run_task.run_task,
    "StartTask": run_task.start_task,
    "StopTask": stop_task.stop_task,
    "ExecuteCommand": execute_command.execute_command,
    "DescribeTasks": tasks.describe_tasks,
    "ListTasks": list_tasks.list_tasks,
    "UpdateTaskProtection": task_protection.update_task_protection,
    "GetTaskProtection": task_protection.get_task_protection,
    "ListContainerInstances": list_container_instances.list_container_instances,
    "DescribeContainerInstances": container_instances.describe_container_instances,
    "DeregisterContainerInstance": container_instances.deregister_container_instance,
    "UpdateContainerInstancesState": container_instances.update_container_instances_state,
    "UpdateContainerAgent": container_instances.update_container_agent,
    "PutAttributes": attributes.put_attributes,
    "DeleteAttributes": attributes.delete_attributes,
    "ListAttributes": list_container_instances.list_attributes,
    "CreateService": services.create_service,
    "UpdateService": services.update_service,
    "DescribeServices": services.describe_services,
    "ListServices": list_services.list_services,
    "ListServicesByNamespace": list_services.list_services_by_namespace,
    "DeleteService": services.delete_service,
    "ListServiceDeployments": service_deployments.list_service_deployments,
    "DescribeServiceDeployments": service_deployments.describe_service_deployments,
    "DescribeServiceRevisions": service_deployments.describe_service_revisions,
    "StopServiceDeployment": service_deployments.stop_service_deployment,
    "CreateTaskSet": task_sets.create_task_set,
    "UpdateTaskSet": task_sets.update_task_set,
    "UpdateServicePrimaryTaskSet": task_sets.update_service_primary_task_set,
    "DeleteTaskSet": task_sets.delete_task_set,
    "DescribeTaskSets": task_sets.describe_task_sets,
}

AGENT_OPERATIONS: Mapping[str, Callable[[ControlPlane, AgentOf, Mapping[str, Any]], dict[str, Any]]] = {
    "RegisterContainerInstance": amazon_agents.register_container_instance,
    "DiscoverPollEndpoint": amazon_agents.discover_poll_endpoint,
    "SubmitTaskStateChange": amazon_agents.submit_task_state_change,
    "SubmitContainerStateChange": amazon_agents.submit_container_state_change,
    "SubmitAttachmentStateChanges": amazon_agents.submit_attachment_state_changes,
}
"""For the agent of one container instance, by a key that was made for it."""

THROTTLES = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
    }
)

service_model()  # read while Lambda starts the environment, when it lends its fastest CPU


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Answers as Amazon ECS does; https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html"""
    began = time.perf_counter()
    line: dict[str, Any] = {"operation": None, "principal": None, "accessKeyId": None, "error": None}
    headers = {name.lower(): value for name, value in event["headers"].items()}
    try:
        status, error, body = 200, {}, _answer(event, headers, line)
    except Exception as raised:
        refusal = _as_ecs_error(raised)
        line["error"] = refusal.code
        status, error = refusal.status, {"x-amzn-errortype": refusal.code}
        body = json.dumps({"__type": refusal.code, **refusal.body()})
    logger.info("Request", extra={**line, "status": status, "ms": round((time.perf_counter() - began) * 1000)})
    request_id = event["requestContext"]["requestId"]
    return {
        "statusCode": status,
        "headers": {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": request_id, **error},
        "body": body,
    }


def _answer(event: Mapping[str, Any], headers: Mapping[str, str], line: dict[str, Any]) -> str:
    cp = control_plane()
    text = event.get("body") or ""
    body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    signed = SignedRequest(
        method=event["requestContext"]["http"]["method"],
        paths=_paths(cp.ecs_endpoint_path, event["rawPath"]),
        query=event.get("rawQueryString") or "",
        headers={**headers, "host": cp.ecs_endpoint_host} if cp.ecs_endpoint_host else headers,
        body=body,
    )
    caller = authenticate(cp, signed, source=event["requestContext"]["http"].get("sourceIp", ""))
    line |= {"principal": caller.principal, "accessKeyId": caller.access_key_id}
    line["operation"] = operation = operation_of(headers.get("x-amz-target"))
    plays_streams = headers.get(execute_command.HEADER) == execute_command.MQTT
    return carry_out(cp, operation, body, caller=caller, plays_streams=plays_streams)


def carry_out(cp: ControlPlane, operation: str, body: bytes, *, caller: Caller, plays_streams: bool = False) -> str:
    """What a request of `caller` is answered with, as JSON. Raises EcsError, LostRace."""
    if operation not in OPERATIONS and operation not in AGENT_OPERATIONS:
        raise refusal_of_operation(operation)
    request = validate_request(operation, parse_body(body))
    refuse_unsupported(operation, request)
    check_limits(operation, request)
    allowed = authorize(cp, caller, operation, request)
    if caller.agent_of is not None:
        return serialise(operation, AGENT_OPERATIONS[operation](cp, caller.agent_of, allowed))
    if operation == "ExecuteCommand" and plays_streams:
        allowed[execute_command.PLAYER] = caller
    return serialise(operation, OPERATIONS[operation](cp, allowed))


def _paths(prefix: str, raw_path: str) -> tuple[str, ...]:
    """What the client may have signed: API Gateway shows `/` whether an address with a path ended in a slash or not."""
    path = prefix + raw_path
    return (path, prefix) if prefix and raw_path == "/" else (path,)


def _as_ecs_error(raised: Exception) -> EcsError:
    """What the caller is told; of a fault of ours only that there was one."""
    if isinstance(raised, EcsError):
        return raised
    if isinstance(raised, LostRace):
        return ServerException("What the request concerns is changing too often. Try again.")
    if isinstance(raised, ClientError) and raised.response.get("Error", {}).get("Code") in THROTTLES:
        logger.warning("Throttled", exc_info=raised)
        return ThrottlingException("Rate exceeded")
    logger.exception("Request failed", exc_info=raised)
    return ServerException("An internal error occurred. Try again; the function's log has the request id.")
