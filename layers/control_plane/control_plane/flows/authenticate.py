"""Who signed a request: the administrator, or somebody with a key of the table."""

from control_plane.domain.access_key import looks_like_an_access_key_id, secret_of
from control_plane.domain.authorization import Caller
from control_plane.gateways.sigv4 import SignedRequest, verify
from control_plane.runtime import ControlPlane

ADMINISTRATOR = "administrator"


def authenticate(cp: ControlPlane, request: SignedRequest) -> Caller:
    """Raises the errors of gateways/sigv4.py.

    A key that is not the administrator's costs one read of the table, which is remembered (store/principals.py).
    """
    found: dict[str, Caller] = {}

    def secret_of_caller(access_key_id: str) -> str | None:
        if looks_like_an_access_key_id(access_key_id):
            key = cp.principals.key(access_key_id, cp.clock())
            signing_key = cp.signing_keys.find(key.signing_key) if key and key.revoked_at is None else None
            if key is None or signing_key is None:
                return None
            found[access_key_id] = key.caller()
            return secret_of(signing_key, access_key_id)
        found[access_key_id] = Caller(principal=ADMINISTRATOR, access_key_id=access_key_id, administrator=True)
        return cp.administrator_key.secret_of(access_key_id)

    return found[verify(request, secret_of=secret_of_caller, region=cp.arns.region, now=cp.clock())]
