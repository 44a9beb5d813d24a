"""Who signed a request: the administrator, somebody with a key of the table, or an IAM identity that has logged in."""

from control_plane.domain.access_key import looks_like_an_access_key_id, secret_of
from control_plane.domain.authorization import Caller
from control_plane.domain.errors import EcsError, ExpiredTokenException
from control_plane.domain.session_key import claims_of, made_with, session_secret_of
from control_plane.flows import audit
from control_plane.gateways.sigv4 import verify
from control_plane.gateways.sigv4_forms import SignedRequest, claimed_access_key_id
from control_plane.runtime import ControlPlane

ADMINISTRATOR = "administrator"


def authenticate(cp: ControlPlane, request: SignedRequest, *, source: str = "") -> Caller:
    """`source` is where the request came from. Raises the errors of gateways/sigv4.py; each is in the audit log.

    A key of the table costs one read of it, which is remembered (store/principals.py); one with a session token none.
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

    def secret_of_session(access_key_id: str, token: str) -> str | None:
        claims = claims_of(token)
        signing_key = cp.signing_keys.find(claims.signing_key) if claims else None
        if claims is None or signing_key is None or not made_with(signing_key, token):
            return None
        if claims.access_key_id != access_key_id:
            return None
        if claims.expired(cp.clock()):
            raise ExpiredTokenException("The security token included in the request is expired")
        found[access_key_id] = claims.caller()
        return session_secret_of(signing_key, token)

    try:
        signed_by = verify(
            request,
            secret_of=secret_of_caller,
            secret_of_session=secret_of_session,
            region=cp.arns.region,
            now=cp.clock(),
        )
    except EcsError as refusal:
        audit.refused(
            cp,
            principal=None,
            accessKeyId=claimed_access_key_id(request),
            action=f"ecs:{request.headers.get('x-amz-target', '').rpartition('.')[2]}",
            resource="*",
            source=source,
            reason=f"{refusal.code}: {refusal.message}",
        )
        raise
    return found[signed_by].model_copy(update={"source": source})
