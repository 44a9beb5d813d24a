"""PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting, ListAccountSettings.

Whoever calls does so with the administrator's key, and so is the account's root user, whose settings are those of all
who have none of their own.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutAccountSetting.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListAccountSettings.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.account_setting import KINDS, checked_principal, require_settable, setting
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.pages import Paging
from control_plane.runtime import ControlPlane
from control_plane.store import account_settings


def put_account_setting(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {setting}, of the principal that the request names, or of the caller."""
    return _put(cp, request, _principal(cp, request))


def put_account_setting_default(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {setting}, of the root user: it holds for all who have none of their own."""
    return _put(cp, request, cp.arns.root())


def delete_account_setting(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {setting} with the value that holds now. Deleting what is not set changes nothing."""
    name, principal = request["name"], _principal(cp, request)
    cp.table.commit([account_settings.deleted(principal, name)])
    return {"setting": setting(name, value_of(cp, name, principal), principal)}


def list_account_settings(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {settings, nextToken}, sorted by name: those set by the principal, or all that hold for it."""
    name, value = request.get("name"), request.get("value")
    if value and not name:
        raise InvalidParameterException("You must specify an account setting name to filter by its value.")
    principal, root = _principal(cp, request), cp.arns.root()
    found = {each: (text, principal) for each, text in account_settings.of_principal(cp.table, principal).items()}
    if request.get("effectiveSettings"):
        of_root = account_settings.of_principal(cp.table, root) if principal != root else {}
        found = {each: found.get(each, (of_root.get(each, kind.default), root)) for each, kind in KINDS.items()}
    names = [
        each
        for each in sorted(found)
        if each in KINDS and name in {None, each} and (not value or value == found[each][0])
    ]
    page, more = Paging(cp.token_key, "ListAccountSettings", request, at_most=10).page_of(names)
    return {"settings": [setting(each, *found[each]) for each in page], **more}


def value_of(cp: ControlPlane, name: str, principal: str) -> str:
    """What holds for a principal: its own word, else the root user's, else what Amazon ECS does by itself."""
    for whose in dict.fromkeys((principal, cp.arns.root())):
        found = account_settings.load(cp.table, whose, name)
        if found is not None:
            return found
    return KINDS[name].default


def _put(cp: ControlPlane, request: Mapping[str, Any], principal: str) -> dict[str, Any]:
    name, value = request["name"], request["value"]
    require_settable(name, value)
    cp.table.commit([account_settings.put(principal, name, value)])
    return {"setting": setting(name, value, principal)}


def _principal(cp: ControlPlane, request: Mapping[str, Any]) -> str:
    named = request.get("principalArn")
    return checked_principal(named, cp.arns.account) if named else cp.arns.root()
