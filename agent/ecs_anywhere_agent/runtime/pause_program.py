"""The program of the container that holds the namespaces of a task: it waits for ever, and lets the dead be forgotten.

Some hundred bytes for each architecture, so that a machine needs no registry for it. As the first process of a
namespace it is the parent of what lost its own; it ignores SIGCHLD, by which the kernel keeps no zombies of them.

    sigaction(SIGCHLD, {SIG_IGN})
    for (;;) pause()

Pure. https://refspecs.linuxfoundation.org/elf/elf.pdf; numbers of system calls: the kernel's unistd.h of each
architecture.
"""

import io
import platform
import struct
import tarfile

_BASE, _HEADERS = 0x400000, 64 + 56
_SIGCHLD, _SIG_IGN = 17, 1
_SIGACTION = struct.pack("<QQQQ", _SIG_IGN, 0, 0, 0)
"""The kernel's: handler, flags, restorer, mask."""


def _x86_64() -> bytes:
    begin = b"\xb8\x0d\0\0\0\xbf" + struct.pack("<I", _SIGCHLD)  # mov eax, rt_sigaction; mov edi, SIGCHLD
    rest = b"\x31\xd2\x41\xba\x08\0\0\0\x0f\x05"  # xor edx, edx; mov r10d, 8; syscall
    loop = b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7"  # mov eax, pause; syscall; jmp to the mov
    return begin + b"\x48\x8d\x35" + struct.pack("<i", len(rest) + len(loop)) + rest + loop  # lea rsi, what follows


def _aarch64() -> bytes:
    def mov(register: int, number: int) -> int:
        return 0xD2800000 | number << 5 | register

    svc = 0xD4000001
    loop = [*(mov(register, 0) for register in range(4)), mov(8, 73), svc]  # ppoll(0, 0, 0, 0): there is no pause
    loop.append(0x14000000 | (-len(loop) & 0x3FFFFFF))  # b to its first
    rest = [mov(2, 0), mov(3, 8), mov(8, 134), svc, *loop]
    adr = 0x10000000 | (len(rest) + 1) << 5 | 1  # the address of what follows, in words from here
    return struct.pack(f"<{len(rest) + 2}I", mov(0, _SIGCHLD), adr, *rest)


_PROGRAMS = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}
"""ELF's number of the machine, and its code."""


def is_known(machine: str = platform.machine()) -> bool:
    return machine in _PROGRAMS


def program(machine: str = platform.machine()) -> bytes:
    """An ELF file that needs nothing else. Raises KeyError for a machine that is not known."""
    number, write = _PROGRAMS[machine]
    body = write() + _SIGACTION
    size = _HEADERS + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)  # to be read and executed
    return head + segment + body


def archive(machine: str = platform.machine()) -> bytes:
    """The files of an image with it: /pause."""
    content = program(machine)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
