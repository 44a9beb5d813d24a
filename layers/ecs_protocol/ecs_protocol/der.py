"""As much of DER as it takes to find a key or a date in a request or certificate, without a library for the rest.

https://www.itu.int/rec/T-REC-X.690: one octet for the tag, the length, the content.
"""

INTEGER, BIT_STRING, OID, SEQUENCE, VERSION = 0x02, 0x03, 0x06, 0x30, 0xA0
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18


def element(data: bytes, *tags: int) -> tuple[bytes, bytes]:
    """The content of the element that `data` begins with, and what follows it. Raises ValueError if it is another."""
    if len(data) < 2 or data[0] not in tags:
        raise ValueError("not the DER that was expected")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("the DER is cut off")
    return data[start : start + length], data[start + length :]
