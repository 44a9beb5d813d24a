"""Which keys get a certificate."""

import base64
import contextlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.signing_request import SigningRequestError, public_key_digest

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey


def request(key: Key, subject: str = "somebody") -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=False)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="RSA-2048"),
        pytest.param(rsa.generate_private_key(65537, 3072), id="RSA-3072"),
        pytest.param(P256, id="P-256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="P-521"),
    ],
)
def test_a_key_that_aws_iot_takes(key: Key) -> None:
    """A signature differs each time, and the subject does not matter: the key alone says who asks."""
    digest = public_key_digest(request(key))
    assert digest == public_key_digest(request(key, subject="somebody else"))
    assert digest == public_key_digest(f"\n{request(key)}\n\n")
    assert digest != public_key_digest(request(ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        pytest.param(rsa.generate_private_key(65537, 1024), "this one has 1024", id="RSA-1024"),
        pytest.param(ec.generate_private_key(ec.SECP224R1()), "P-256, P-384, P-521", id="P-224"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), "P-256, P-384, P-521", id="secp256k1"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), "neither RSA nor", id="Ed25519"),
        pytest.param(dsa.generate_private_key(1024), "neither RSA nor", id="DSA"),
    ],
)
def test_a_key_that_it_does_not_take(key: Key, says: str) -> None:
    with pytest.raises(SigningRequestError, match=says):
        public_key_digest(request(key))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----", id="an empty block"),
        pytest.param(request(P256).replace("CERTIFICATE REQUEST", "CERTIFICATE"), id="another kind of block"),
        pytest.param(request(P256) * 2, id="two blocks"),
        pytest.param(request(P256).replace("M", "*"), id="no base64"),
    ],
)
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(SigningRequestError):
        public_key_digest(text)


def pem(der: bytes) -> str:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_breaks_nothing(der: bytes) -> None:
    with pytest.raises(SigningRequestError):
        public_key_digest(pem(der))


SOUND = base64.b64decode("".join(request(P256).splitlines()[1:-1]))


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255), st.integers(0, len(SOUND)))
def test_so_is_a_request_with_a_byte_changed_or_cut_off(at: int, byte: int, length: int) -> None:
    """Or it still has a key of a kind that is taken: AWS IoT checks the signature."""
    with contextlib.suppress(SigningRequestError):
        public_key_digest(pem((SOUND[:at] + bytes([byte]) + SOUND[at + 1 :])[:length]))
