"""What service events say, in Amazon ECS's words. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
"""

from collections.abc import Mapping

from control_plane.domain.placement.place import Unplaced

_LACKS: Mapping[str, str] = {
    "RESOURCE:CPU": "has insufficient CPU units available.",
    "RESOURCE:MEMORY": "has insufficient memory available.",
    "RESOURCE:PORTS": "is already using a port required by your task.",
    "ATTRIBUTE": "is missing an attribute required by your task.",
}


def unable_to_place(service: str, unplaced: Unplaced) -> str:
    """Names what the closest instance lacked; what Amazon ECS does not say, the expressions that it does not satisfy
    and how many instances refused for which reason, follows after it."""
    closest = unplaced.closest
    head = f"(service {service}) was unable to place a task because no container instance met all of its requirements. "
    if closest is None:
        return f"{head}Reason: No Container Instances were found in your cluster."
    reason = unplaced.refusals[closest][0]
    lacks = _LACKS.get(reason, f'encountered error "{reason}".')
    expressions = "; ".join(unplaced.unsatisfied.get(closest, ()))
    counts = ", ".join(f"{reason.rstrip('.')} ({count})" for reason, count in unplaced.counted.items())
    return (
        f"{head}The closest matching (container-instance {closest}) {lacks}"
        + (f" It does not satisfy: {expressions}." if expressions else "")
        + f" Refusals of {len(unplaced.refusals)} container instances: {counts}."
    )
