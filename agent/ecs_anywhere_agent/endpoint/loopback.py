"""169.254.170.2 as an address of this machine's loopback interface.

It is the address at which every SDK believes a container that credentials are to be had over HTTP. A container in
network mode bridge sends what is for it to its gateway, which is this machine: so no packet has to be rewritten, and no
firewall's rules are touched. Any number of agents may add it; none takes it away, since others' containers may need it.
It goes when the machine is restarted.

https://man7.org/linux/man-pages/man7/rtnetlink.7.html
"""

import errno
import os
import socket
import struct

import psutil

ADDRESS = "169.254.170.2"

_RTM_NEWADDR, _NLMSG_ERROR = 20, 2
_REQUEST, _ACKNOWLEDGE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_SCOPE_HOST = 254
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_PREFIX_LENGTH = 32
_TIMEOUT_SECONDS = 5.0


def add_address(address: str = ADDRESS) -> None:
    """Unless the machine has it. Raises OSError, which is PermissionError for who is not root (CAP_NET_ADMIN)."""
    if is_of_this_machine(address):
        return
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", socket.AF_INET, _PREFIX_LENGTH, 0, _SCOPE_HOST, socket.if_nametoindex("lo"))
    body += b"".join(struct.pack("=HH4s", 8, kind, packed) for kind in (_IFA_LOCAL, _IFA_ADDRESS))
    flags = _REQUEST | _ACKNOWLEDGE | _EXCLUSIVE | _CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.settimeout(_TIMEOUT_SECONDS)
        link.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWADDR, flags, 1, 0) + body)
        answer = link.recv(4096)
    _, kind, _, _, _, code = struct.unpack_from("=IHHIIi", answer)
    if kind != _NLMSG_ERROR or -code not in {0, errno.EEXIST}:  # another agent was faster
        raise OSError(-code, os.strerror(-code))


def is_of_this_machine(address: str) -> bool:
    """Whether it is an address of one of this machine's interfaces."""
    return any(each.address == address for interface in psutil.net_if_addrs().values() for each in interface)
