"""An image's name as Docker lists it. Pure.

https://docs.docker.com/reference/cli/docker/image/tag/
"""

_HUBS = ("docker.io/", "index.docker.io/")


def listed_name(image: str) -> str:
    """`docker.io/library/nginx` is listed as `nginx:latest`; one with a digest by its digest alone."""
    name, at, digest = image.partition("@")
    for hub in _HUBS:
        if name.startswith(hub):
            name = name.removeprefix(hub).removeprefix("library/")
    repository, colon, tag = name.rpartition(":")
    tagged = bool(colon) and "/" not in tag
    if at:
        return f"{repository if tagged else name}@{digest}"
    return name if tagged else f"{name}:latest"
