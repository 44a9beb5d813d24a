"""What is looked at in a certificate signing request before AWS IoT is asked to sign it. Pure.

Only the key counts: AWS IoT copies the subject into the certificate, where nobody reads it. That the sender has the
private key, AWS IoT checks by the request's signature. Read by hand, since the shape is fixed and a library for it
would be the largest thing in the functions' layer:

    CertificationRequest ::= SEQUENCE { SEQUENCE { version INTEGER, subject Name, subjectPKInfo, … }, … }
    subjectPKInfo        ::= SEQUENCE { SEQUENCE { algorithm OID, parameters }, subjectPublicKey BIT STRING }

https://www.rfc-editor.org/rfc/rfc2986#section-4
"""

import base64
import hashlib
import re

from ecs_protocol.der import BIT_STRING, INTEGER, OID, SEQUENCE, element

SMALLEST_RSA_BITS = 2048

_PEM = re.compile(
    r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----"
)
_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "P-256",
    bytes.fromhex("2b81040022"): "P-384",
    bytes.fromhex("2b81040023"): "P-521",
}


class SigningRequestError(ValueError):
    """It is no signing request, or its key is none that AWS IoT takes; the text says which are."""


def public_key_digest(pem: str) -> str:
    """Tells one key from another: the same key in another request has the same. Raises SigningRequestError.

    AWS IoT takes RSA keys of 2,048 bits or more and keys on the curves P-256, P-384 and P-521:
    https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html
    """
    found = _PEM.fullmatch(pem.strip())
    if found is None:
        raise SigningRequestError("It is not one PEM block CERTIFICATE REQUEST.")
    try:
        request, _ = element(base64.b64decode("".join(found[1].split()), validate=True), SEQUENCE)
        information, _ = element(request, SEQUENCE)
        _, rest = element(information, INTEGER)
        _, rest = element(rest, SEQUENCE)  # the subject, which is ignored
        key, _ = element(rest, SEQUENCE)
        _check(key)
    except SigningRequestError:
        raise
    except ValueError as error:
        raise SigningRequestError("It is not the DER of a certification request.") from error
    return hashlib.sha256(key).hexdigest()


def _check(key: bytes) -> None:
    identifier, rest = element(key, SEQUENCE)
    algorithm, parameters = element(identifier, OID)
    bits, _ = element(rest, BIT_STRING)
    if algorithm == _RSA:
        numbers, _ = element(bits[1:], SEQUENCE)  # the first byte counts unused bits
        modulus, _ = element(numbers, INTEGER)
        size = int.from_bytes(modulus, "big").bit_length()
        if size < SMALLEST_RSA_BITS:
            raise SigningRequestError(f"An RSA key has {SMALLEST_RSA_BITS} bits or more; this one has {size}.")
    elif algorithm != _EC or element(parameters, OID)[0] not in _CURVES:
        raise SigningRequestError(f"The key is neither RSA nor on a curve of {', '.join(_CURVES.values())}.")
