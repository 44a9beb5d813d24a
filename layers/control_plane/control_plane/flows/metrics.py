"""Metrics of our own: a line of the log is a count, too (CloudWatch's embedded metric format): no call, no resource.

    Refused         somebody was refused what it asked for (audit.py)
    LostRaces       what was decided was not true any more when it was to be committed (again.py)
    RacesGivenUp    that happened at each of several attempts

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from typing import Any, Literal

from control_plane.runtime import ControlPlane

Metric = Literal["Refused", "LostRaces", "RacesGivenUp"]

NAMESPACE, DIMENSION = "EcsAnywhere", "Prefix"


def one(cp: ControlPlane, *metrics: Metric) -> dict[str, Any]:
    """Members that make a line of the log a count of each of these."""
    counted = {
        "Timestamp": int(cp.clock().timestamp() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [[DIMENSION]],
                "Metrics": [{"Name": metric, "Unit": "Count"} for metric in metrics],
            }
        ],
    }
    return {"_aws": counted, DIMENSION: cp.prefix, **dict.fromkeys(metrics, 1)}
