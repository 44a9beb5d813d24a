"""The agent's settings: /etc/ecs-anywhere/agent.config and the environment, under the names of Amazon's agent."""

from ecs_anywhere_agent.settings.model import DEFAULTS, Settings
from ecs_anywhere_agent.settings.reading import Found, SettingsError, export, find_settings, read_settings

__all__ = ["DEFAULTS", "Found", "Settings", "SettingsError", "export", "find_settings", "read_settings"]
