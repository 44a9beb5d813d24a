"""Which changes of a machine leave it the same machine, and what is read of one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ecs_anywhere_agent.fingerprint import read_marks
from ecs_anywhere_agent.sameness import compare, renewed


class Machine:
    """A file system with what a kernel tells of the hardware."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def interface(self, name: str, address: str, *, physical: bool = True, assigned: str = "0") -> None:
        self.write(f"sys/class/net/{name}/address", f"{address}\n")
        self.write(f"sys/class/net/{name}/addr_assign_type", f"{assigned}\n")
        if physical:
            (self.root / f"sys/class/net/{name}/device").mkdir()

    def disk(self, number: str, serial: str, *, name: str = "sda") -> None:
        """With `/` on its first partition."""
        mounts = (f"22 1 {number} / / rw - ext4 /dev/{name}1 rw", "23 22 0:5 / /proc rw - proc proc rw")
        self.write("proc/self/mountinfo", "\n".join(mounts))
        self.write(f"sys/devices/pci0/block/{name}/device/serial", serial)
        self.write(f"sys/devices/pci0/block/{name}/{name}1/partition", "1")
        link = self.root / "sys/dev/block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../devices/pci0/block/{name}/{name}1")


def server(root: Path) -> Machine:
    machine = Machine(root)
    machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    machine.write("sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8052-B7C04F4E3432\n")
    machine.interface("eth0", "00:1b:21:00:00:01")
    machine.interface("eth1", "00:1b:21:00:00:02")
    machine.disk("8:1", "S3Z9NB0K123456")
    return machine


def raspberry(root: Path) -> Machine:
    machine = Machine(root)
    machine.write("etc/machine-id", "fedcba9876543210fedcba9876543210\n")
    machine.write("sys/firmware/devicetree/base/serial-number", "10000000abcdef01\0")
    machine.write("proc/cpuinfo", "processor\t: 0\nSerial\t\t: 10000000abcdef01\n")
    machine.interface("eth0", "dc:a6:32:00:00:01")
    machine.disk("179:2", "0x1a2b3c4d", name="mmcblk0")
    return machine


def other_board(machine: Machine) -> None:
    machine.write("sys/class/dmi/id/product_uuid", "11111111-2222-3333-4444-555555555555\n")


def other_cards(machine: Machine) -> None:
    machine.write("sys/class/net/eth0/address", "00:1b:21:00:00:99\n")
    machine.write("sys/class/net/eth1/address", "00:1b:21:00:00:98\n")


def one_card(machine: Machine) -> None:
    machine.write("sys/class/net/eth0/address", "00:1b:21:00:00:99\n")


def other_disk(machine: Machine) -> None:
    machine.disk("8:1", "S3Z9NB0K999999")


def other_system(machine: Machine) -> None:
    machine.write("etc/machine-id", "ffffffffffffffff0000000000000000\n")


def not_as_root(machine: Machine) -> None:
    (machine.root / "sys/class/dmi/id/product_uuid").unlink()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param([], True, id="nothing"),
        pytest.param([other_board], True, id="another board, though the network is on a card"),
        pytest.param([one_card], True, id="one of two network cards"),
        pytest.param([other_cards], True, id="both network cards"),
        pytest.param([other_disk], True, id="the disk, with all that is on it"),
        pytest.param([other_system], True, id="a system with another machine id"),
        pytest.param([not_as_root], True, id="what only root may read"),
        pytest.param([not_as_root, one_card], True, id="that, and a network card"),
        pytest.param([other_board, other_cards], False, id="the disk was moved to another machine"),
        pytest.param([other_board, other_cards, other_disk], False, id="the disk was copied to another machine"),
        pytest.param([not_as_root, other_cards, other_disk], False, id="the same, seen by another user than root"),
    ],
)
def test_a_server(tmp_path: Path, changes: list[Callable[[Machine], None]], same: bool) -> None:
    machine = server(tmp_path)
    kept = read_marks(tmp_path)
    assert set(kept) == {"machine-id", "board", "network", "root-disk"}
    for change in changes:
        change(machine)
    assert compare(kept, read_marks(tmp_path)).same_machine == same


def test_a_card_that_was_copied_into_another_raspberry(tmp_path: Path) -> None:
    machine = raspberry(tmp_path)
    kept = read_marks(tmp_path)
    assert set(kept) == {"machine-id", "board", "cpu", "network", "root-disk"}
    machine.write("sys/firmware/devicetree/base/serial-number", "10000000abcdef02\0")
    machine.write("proc/cpuinfo", "Serial\t\t: 10000000abcdef02\n")
    machine.write("sys/class/net/eth0/address", "dc:a6:32:00:00:02\n")
    found = compare(kept, read_marks(tmp_path))
    assert (found.agree, found.differ) == (("machine-id", "root-disk"), ("board", "cpu", "network"))
    assert not found.same_machine
    machine.disk("179:2", "0x99999999", name="mmcblk0")
    assert not compare(kept, read_marks(tmp_path)).same_machine


def test_where_little_can_be_read_the_copy_of_a_disk_is_told_by_what_is_left(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    machine.interface("eth0", "00:1b:21:00:00:01")
    kept = read_marks(tmp_path)
    assert compare(kept, read_marks(tmp_path)).same_machine
    machine.write("sys/class/net/eth0/address", "00:1b:21:00:00:02\n")
    assert not compare(kept, read_marks(tmp_path)).same_machine


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path) -> None:
    assert read_marks(tmp_path) == {}
    assert compare({}, read_marks(tmp_path)).same_machine
    assert compare(read_marks(server(tmp_path).root), {}).same_machine


def test_what_is_kept_is_no_number_of_the_machine(tmp_path: Path) -> None:
    text = str(read_marks(raspberry(tmp_path).root))
    for number in ("fedcba9876543210", "10000000abcdef01", "dc:a6:32", "1a2b3c4d"):
        assert number not in text


@pytest.mark.parametrize(
    "number", ["To be filled by O.E.M.", "Default string", "00000000-0000-0000-0000-000000000000", "", "FFFF-FFFF"]
)
def test_what_makers_leave_in_its_place_is_no_number(tmp_path: Path, number: str) -> None:
    machine = Machine(tmp_path)
    machine.write("sys/class/dmi/id/product_uuid", number)
    machine.write("sys/class/dmi/id/board_serial", number)
    assert read_marks(tmp_path) == {}
    machine.write("sys/class/dmi/id/board_serial", "PF0A1B2C")
    assert set(read_marks(tmp_path)) == {"board"}


def test_bridges_and_random_addresses_are_no_hardware(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.interface("docker0", "02:42:00:00:00:01", physical=False)
    machine.interface("wlan0", "be:ef:00:00:00:01", assigned="3")
    assert read_marks(tmp_path) == {}


def test_a_volume_is_on_the_disks_below_it(tmp_path: Path) -> None:
    machine = server(tmp_path)
    direct = read_marks(tmp_path)["root-disk"]
    machine.write("proc/self/mountinfo", "22 1 253:0 / / rw - ext4 /dev/mapper/root rw\n")
    (tmp_path / "sys/devices/virtual/block/dm-0/slaves").mkdir(parents=True)
    (tmp_path / "sys/devices/virtual/block/dm-0/slaves/sda1").symlink_to("../../../../pci0/block/sda/sda1")
    (tmp_path / "sys/dev/block/253:0").symlink_to("../../devices/virtual/block/dm-0")
    assert read_marks(tmp_path)["root-disk"] == direct


def test_parts_that_change_one_after_the_other_leave_it_the_same(tmp_path: Path) -> None:
    machine = server(tmp_path)
    kept = read_marks(tmp_path)
    for change in (other_board, other_cards, other_disk, other_system):
        change(machine)
        now = read_marks(tmp_path)
        assert compare(kept, now).same_machine
        kept = renewed(kept, now)
    not_as_root(machine)
    assert "board" in renewed(kept, read_marks(tmp_path)), "what cannot be read now counts as it was"
