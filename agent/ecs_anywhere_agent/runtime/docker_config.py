"""A container's spec as Docker takes it. Pure.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ecs_anywhere_agent.container_firelens import DRIVER, PORT
from ecs_anywhere_agent.container_linux import Linux
from ecs_anywhere_agent.container_network import PortRange
from ecs_anywhere_agent.container_spec import ContainerSpec, HealthCheck, LogConfiguration
from ecs_anywhere_agent.container_storage import DockerVolume
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_firelens import router_binds, router_environment, sender_log_config
from ecs_anywhere_agent.runtime.docker_gpus import VISIBLE_DEVICES
from ecs_anywhere_agent.runtime.docker_labels import container_labels, task_labels

_MEBIBYTE = 1024 * 1024
_NANOSECONDS = 1_000_000_000
_PERIOD_MICROSECONDS = 100_000


def container_name(ref: ContainerRef, spec: ContainerSpec) -> str:
    """The same each time, so that a second create finds what the first one made."""
    return _name(spec, ref.name[:80], ref.task_id)


def volume_name(task_id: str, spec: ContainerSpec, volume: DockerVolume) -> str:
    """The same each time, for all containers of the task; a shared one has the name that the definition gives it."""
    return volume.name if volume.shared else _name(spec, volume.name, task_id)


def _name(spec: ContainerSpec, name: str, task_id: str) -> str:
    family, _, revision = spec.origin.task_definition.rpartition(":")
    return f"ecs-{family[:80]}-{revision}-{name}-{task_id}"


def volume_config(task_id: str, spec: ContainerSpec, volume: DockerVolume, data_dir: str) -> dict[str, Any]:
    """The body of a create request. Only a task's own volume is marked as ours, to be removed with the task."""
    return {
        "Name": volume_name(task_id, spec, volume),
        "Driver": volume.driver or "local",
        "DriverOpts": dict(volume.driver_options),
        "Labels": {**dict(volume.labels), **({} if volume.shared else task_labels(task_id, data_dir))},
    }


def container_config(
    ref: ContainerRef,
    spec: ContainerSpec,
    data_dir: str,
    *,
    cgroup_parent: str | None = None,
    range_starts: Mapping[PortRange, int] | None = None,
    gpu_runtime: str = "nvidia",
    log_router_address: str | None = None,
) -> dict[str, Any]:
    """The body of a create request.

    `cgroup_parent` holds the limits of the task; None: the container gets them. `range_starts` says from which port of
    the machine on the ports of a range are mapped. `gpu_runtime`: the Engine's runtime that gives GPUs to a container.
    `log_router_address`: where the task's log router is reached by programs that know it.
    """
    ports = dict(_ports(spec, range_starts or {}))
    gpus = ",".join(spec.origin.gpu_ids)
    ours = {
        **({VISIBLE_DEVICES: gpus} if gpus else {}),
        **(router_environment(spec.routes_logs) if spec.routes_logs else {}),
        **({"FLUENT_HOST": log_router_address, "FLUENT_PORT": str(PORT)} if log_router_address else {}),
    }
    environment = [*((name, value) for name, value in spec.environment if name not in ours), *ours.items()]
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in environment],
        "Labels": {**dict(spec.docker_labels), **container_labels(ref, spec, data_dir)},
        "ExposedPorts": {port: {} for port in ports},
        "Healthcheck": _health_check(spec.health_check),
        "HostConfig": {
            **_host_config(ref, spec, ports, cgroup_parent, data_dir),
            **({"Runtime": gpu_runtime} if gpus else {}),
        },
    }
    given = {
        "Entrypoint": list(spec.entry_point),
        "Cmd": list(spec.command),
        "WorkingDir": spec.working_directory,
        "User": spec.user,
        "Tty": spec.linux.pseudo_terminal,
        "OpenStdin": spec.linux.interactive,
        "Hostname": spec.network.hostname,
        "NetworkDisabled": spec.network.disabled,
    }
    return {**config, **{name: value for name, value in given.items() if value}}


def _host_config(
    ref: ContainerRef, spec: ContainerSpec, ports: Mapping[str, str], cgroup_parent: str | None, data_dir: str
) -> dict[str, Any]:
    network, storage = spec.network, spec.storage
    config = {
        "NetworkMode": spec.network_mode,
        **_resources(spec, cgroup_parent),
        **_linux(spec.linux),
    }
    if spec.network_mode == "bridge":
        config["PortBindings"] = {port: [{"HostIp": "", "HostPort": host_port}] for port, host_port in ports.items()}

    def other(name: str) -> str:
        return container_name(ContainerRef(ref.task_id, name), spec)

    given = {
        "Links": [f"{other(link.container)}:{link.alias}" for link in network.links],
        "ExtraHosts": [f"{name}:{address}" for name, address in network.extra_hosts],
        "Dns": list(network.dns_servers),
        "DnsSearch": list(network.dns_search_domains),
        "Binds": list(_binds(ref, spec, data_dir)),
        "VolumesFrom": [
            f"{other(each.container)}:ro" if each.read_only else other(each.container) for each in storage.volumes_from
        ],
        "LogConfig": spec.logs and _log_config(ref, spec.logs, data_dir),
    }
    return {**config, **{name: value for name, value in given.items() if value}}


def _resources(spec: ContainerSpec, cgroup_parent: str | None) -> dict[str, Any]:
    memory = spec.least_memory_limit if cgroup_parent is None else spec.memory_limit
    resources: dict[str, Any] = {
        "CpuShares": spec.cpu_shares,
        "Memory": (memory or 0) * _MEBIBYTE,
        "MemoryReservation": (spec.memory_reservation or 0) * _MEBIBYTE,
    }
    if spec.linux.max_swap is not None:
        # Docker's number is of memory and swap together.
        resources["MemorySwap"] = ((memory or 0) + spec.linux.max_swap) * _MEBIBYTE
    if spec.linux.swappiness is not None:
        resources["MemorySwappiness"] = spec.linux.swappiness
    if cgroup_parent is not None:
        resources["CgroupParent"] = cgroup_parent
    elif spec.task_limits.cpu:
        resources["CpuPeriod"] = _PERIOD_MICROSECONDS
        resources["CpuQuota"] = spec.task_limits.cpu * _PERIOD_MICROSECONDS // 1024
    return resources


def _linux(linux: Linux) -> dict[str, Any]:
    given: dict[str, Any] = {
        "Privileged": linux.privileged,
        "ReadonlyRootfs": linux.readonly_root_filesystem,
        "Init": linux.init_process,
        "SecurityOpt": [_security_option(option) for option in linux.security_options],
        "Sysctls": dict(linux.system_controls),
        "Ulimits": [{"Name": each.name, "Soft": each.soft, "Hard": each.hard} for each in linux.ulimits],
        "CapAdd": list(linux.added_capabilities),
        "CapDrop": list(linux.dropped_capabilities),
        "Devices": [
            {
                "PathOnHost": each.host_path,
                "PathInContainer": each.container_path,
                "CgroupPermissions": each.permissions,
            }
            for each in linux.devices
        ],
        "Tmpfs": {each.container_path: ",".join((f"size={each.size}m", *each.mount_options)) for each in linux.tmpfs},
        "ShmSize": (linux.shared_memory or 0) * _MEBIBYTE,
        "PidMode": linux.pid_mode,
        "IpcMode": linux.ipc_mode,
    }
    return {name: value for name, value in given.items() if value}


def _security_option(option: str) -> str:
    """`label:user:x` of the ECS API; Docker has `=` after the first word, and gives up the colon."""
    name, separator, value = option.partition(":")
    return f"{name}={value}" if separator and name in {"label", "apparmor"} else option


def _log_config(ref: ContainerRef, logs: LogConfiguration, data_dir: str) -> dict[str, Any]:
    if logs.driver == DRIVER:
        return sender_log_config(ref, logs, data_dir)
    return {"Type": logs.driver, "Config": dict(logs.options)}


def _binds(ref: ContainerRef, spec: ContainerSpec, data_dir: str) -> Iterator[str]:
    """Docker makes a directory of the machine that is not there, as it does for Amazon's agent."""
    for mount in spec.storage.mounts:
        source = mount.source if isinstance(mount.source, str) else volume_name(ref.task_id, spec, mount.source)
        yield f"{source}:{mount.container_path}{':ro' if mount.read_only else ''}"
    if spec.routes_logs:
        yield from router_binds(ref.task_id, spec.routes_logs, data_dir)


def _ports(spec: ContainerSpec, range_starts: Mapping[PortRange, int]) -> Iterator[tuple[str, str]]:
    """Ports of the container, each with that of the machine; "": Docker chooses one."""
    for mapping in spec.port_mappings:
        yield f"{mapping.container_port}/{mapping.protocol}", str(mapping.host_port or "")
    for each in spec.network.port_ranges:
        start = range_starts.get(each, each.first)
        for offset in range(each.size):
            yield f"{each.first + offset}/{each.protocol}", str(start + offset)


def _health_check(check: HealthCheck | None) -> dict[str, Any]:
    """Without one the image's own is off: Amazon ECS does not monitor it either."""
    if check is None:
        return {"Test": ["NONE"]}
    return {
        "Test": list(check.command),
        "Interval": check.interval * _NANOSECONDS,
        "Timeout": check.timeout * _NANOSECONDS,
        "Retries": check.retries,
        "StartPeriod": check.start_period * _NANOSECONDS,
    }
