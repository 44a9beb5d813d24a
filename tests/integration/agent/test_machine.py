"""What a real machine registers."""

import os
import socket
from pathlib import Path

import psutil
import pytest

from ecs_anywhere_agent.machine import boot_id_of, default_reserved_memory, describe_machine, ports_in_use
from ecs_anywhere_agent.runtime.interface import RuntimeFacts
from ecs_protocol.messages import Attribute, HostPort, RegisterContainerInstance

FACTS = RuntimeFacts(
    frozenset({"process", "external"}), attributes=(Attribute(name="ecs-anywhere.limits", value="none"),)
)


def describe(
    *attributes: Attribute, reserved: int | None = None, boot_id: str | None = None
) -> RegisterContainerInstance:
    return describe_machine(
        FACTS,
        attributes,
        own_ports=frozenset(),
        owns_process=lambda _: False,
        reserved_memory=reserved,
        boot_id=boot_id,
    )


def test_resources_and_attributes() -> None:
    machine = describe(Attribute(name="site", value="basement"), reserved=100)
    assert machine.cpu == (os.cpu_count() or 0) * 1024
    assert machine.memory == psutil.virtual_memory().total // 2**20 - 100
    values = {attribute.name: attribute.value for attribute in machine.attributes}
    assert values["site"] == "basement"
    assert values["ecs.os-type"] == "linux"
    assert values["ecs.cpu-architecture"] in {"x86_64", "arm64"}
    assert values[f"ecs-anywhere.capability.cpu-architecture.{values['ecs.cpu-architecture']}"] is None
    assert values["ecs-anywhere.limits"] == "none"
    assert values["ecs.capability.external"] is None
    assert "ecs-anywhere.capability.port-mapping" not in values


def test_the_digest_is_of_all_that_is_said() -> None:
    assert describe(Attribute(name="a", value="1")).digest != describe(Attribute(name="a", value="2")).digest


def test_tags_are_no_part_of_the_digest_as_they_change_nothing_later() -> None:
    tagged = describe_machine(
        FACTS, (), own_ports=frozenset(), owns_process=lambda _: False, reserved_memory=None, tags={"team": "drones"}
    )
    assert tagged.tags == {"team": "drones"}
    assert describe().tags is None
    assert tagged.digest == describe().digest


def test_a_custom_attribute_cannot_pose_as_the_machines_own() -> None:
    names = [attribute.name for attribute in describe(Attribute(name="ecs.os-type", value="windows")).attributes]
    assert names.count("ecs.os-type") == 1


@pytest.mark.parametrize(("total", "reserve"), [(512, 64), (2048, 128), (65536, 512)])
def test_the_reserve(total: int, reserve: int) -> None:
    assert default_reserved_memory(total) == reserve


def test_ports_in_use_are_those_of_others() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = HostPort(port=listener.getsockname()[1])
        assert port in ports_in_use(frozenset(), lambda _: False)
        assert port not in ports_in_use(frozenset({port}), lambda _: False)
        assert port not in ports_in_use(frozenset(), lambda pid: pid == os.getpid())


def test_a_boot_id_is_of_this_boot_and_of_this_data_directory(tmp_path: Path) -> None:
    one, copy = tmp_path / "one", tmp_path / "copy"
    one.mkdir()
    copy.mkdir()
    assert boot_id_of(one) == boot_id_of(one)
    assert boot_id_of(one) != boot_id_of(copy)
    assert len(boot_id_of(one)) == 32


def test_what_boot_it_is_is_no_part_of_what_the_machine_is() -> None:
    one, two = describe(boot_id="1" * 32), describe(boot_id="2" * 32)
    assert (one.boot_id, two.boot_id) == ("1" * 32, "2" * 32)
    assert one.model_copy(update={"boot_id": None}) == two.model_copy(update={"boot_id": None})
