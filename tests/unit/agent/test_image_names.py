"""An image's name as Docker lists it."""

import pytest

from ecs_anywhere_agent.runtime.image_names import listed_name


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        pytest.param("nginx", "nginx:latest", id="the-latest-of-the-hubs-own"),
        pytest.param("nginx:1.27", "nginx:1.27", id="a-tag"),
        pytest.param("docker.io/library/nginx:1", "nginx:1", id="the-hub-is-not-named"),
        pytest.param("docker.io/grafana/grafana", "grafana/grafana:latest", id="nor-for-somebody-elses"),
        pytest.param("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", id="a-port-is-no-tag"),
        pytest.param("127.0.0.1:5000/app@sha256:1", "127.0.0.1:5000/app@sha256:1", id="a-digest"),
        pytest.param("app:1@sha256:1", "app@sha256:1", id="a-digest-counts-not-the-tag-before-it"),
    ],
)
def test_names(image: str, listed: str) -> None:
    assert listed_name(image) == listed
