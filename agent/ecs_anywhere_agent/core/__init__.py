"""The agent's decisions: `step` and what it takes and gives. No threads, no clocks, no I/O in this package."""

from ecs_anywhere_agent.core.step import next_due, step
from ecs_anywhere_agent.core.values import Instant, Rules, State

__all__ = ["Instant", "Rules", "State", "next_due", "step"]
