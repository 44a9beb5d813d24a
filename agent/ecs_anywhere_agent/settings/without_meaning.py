"""Variables of Amazon's agent that are taken and change nothing, and why; each that is set is logged once at the start.

A value in `SAFE` asks for what is so anyway, and is not worth a line.
"""

from collections.abc import Mapping

_IDENTITY = "the machine's own certificate says who it is and where it connects"
_ON_MACHINE = "the agent is a program of the machine, not a container"
_NO_METRICS = "no metrics are sent"
_EC2 = "of EC2"
_WINDOWS = "of Windows"
_ENI = "of network interfaces in a VPC"
_NO_FIREWALL = "the agent has no introspection port and makes no rule of the firewall for one"
_STORAGE = "of a kind of storage that no machine of one's own has"
_NOT_THERE = "not there"

WITHOUT_MEANING: Mapping[str, str] = {
    "AWS_DEFAULT_REGION": _IDENTITY,
    "AWS_ACCESS_KEY_ID": _IDENTITY,
    "AWS_SECRET_ACCESS_KEY": _IDENTITY,
    "AWS_SESSION_TOKEN": _IDENTITY,
    "ECS_BACKEND_HOST": _IDENTITY,
    "ECS_ALTERNATE_CREDENTIAL_PROFILE": _IDENTITY,
    "ECS_EXTERNAL": "every machine is external",
    "ECS_CHECKPOINT": "state is always kept",
    "ECS_HOST_DATA_DIR": _ON_MACHINE,
    "ECS_CGROUP_PATH": _ON_MACHINE,
    "ECS_AGENT_HEALTHCHECK_HOST": _ON_MACHINE,
    "ECS_DISABLE_DOCKER_HEALTH_CHECK": _ON_MACHINE,
    "ECS_LOG_DRIVER": _ON_MACHINE,
    "ECS_LOG_OPTS": _ON_MACHINE,
    "ECS_UPDATES_ENABLED": "the agent is updated on the machine",
    "ECS_UPDATE_DOWNLOAD_DIR": "the agent is updated on the machine",
    "ECS_DISABLE_METRICS": _NO_METRICS,
    "ECS_POLL_METRICS": _NO_METRICS,
    "ECS_POLLING_METRICS_WAIT_DURATION": _NO_METRICS,
    "ECS_ENABLE_PROMETHEUS_METRICS": _NO_METRICS,
    "ECS_ENABLE_RUNTIME_STATS": _NO_METRICS,
    "ECS_MANIFEST_PULL_TIMEOUT": "tags are not resolved to digests before the pull",
    "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM": _EC2,
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING": _EC2,
    "ECS_WARM_POOLS_CHECK": _EC2,
    "ECS_DISABLE_TASK_METADATA_AZ": _EC2,
    "ECS_ENABLE_INF_SUPPORT": _EC2,
    "ECS_ENABLE_TASK_ENI": _ENI,
    "ECS_ENABLE_HIGH_DENSITY_ENI": _ENI,
    "ECS_CNI_PLUGINS_PATH": _ENI,
    "ECS_AWSVPC_BLOCK_IMDS": _ENI,
    "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES": _ENI,
    "ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND": _WINDOWS,
    "ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND": _WINDOWS,
    "ECS_FSX_WINDOWS_FILE_SERVER_SUPPORTED": _STORAGE,
    "ECS_EBSTA_SUPPORTED": _STORAGE,
    "ECS_VOLUME_PLUGIN_CAPABILITIES": _STORAGE,
    "ECS_SKIP_LOCALHOST_TRAFFIC_FILTER": _NO_FIREWALL,
    "ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS": _NO_FIREWALL,
    "ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME": _NO_FIREWALL,
    "ECS_AUDIT_LOGFILE": "the audit log is part of the log",
    "ECS_AUDIT_LOGFILE_DISABLED": "the audit log is part of the log",
}
"""Nothing is lost: what they are about is not here."""

REFUSED: Mapping[str, str] = {
    "ECS_ENABLE_CONTAINER_METADATA": f"files with a container's metadata: {_NOT_THERE}; use the metadata endpoint",
    "ECS_CGROUP_CPU_PERIOD": "limits of tasks have a period of 100 ms",
    "ECS_TASK_PIDS_LIMIT": f"limits of a task's processes: {_NOT_THERE}; use the ulimit nproc",
    "ECS_DYNAMIC_HOST_PORT_RANGE": "the Docker Engine chooses ports, from net.ipv4.ip_local_port_range",
    "ECS_EXCLUDE_IPV6_PORTBINDING": "bindings to IPv6 are never shown",
    "ECS_GMSA_SUPPORTED": f"group managed service accounts: {_NOT_THERE}",
    "CREDENTIALS_FETCHER_HOST": f"group managed service accounts: {_NOT_THERE}",
    "CREDENTIALS_FETCHER_SECRET_NAME_FOR_DOMAINLESS_GMSA": f"group managed service accounts: {_NOT_THERE}",
}
"""Somebody who sets one of these misses something: a warning, unless it asks for what is so anyway."""

_OFF = frozenset({"false", "f", "0"})

SAFE: Mapping[str, frozenset[str]] = {
    "ECS_ENABLE_CONTAINER_METADATA": _OFF,
    "ECS_CGROUP_CPU_PERIOD": frozenset({"100ms"}),
    "ECS_EXCLUDE_IPV6_PORTBINDING": frozenset({"true", "t", "1"}),
    "ECS_GMSA_SUPPORTED": _OFF,
}
