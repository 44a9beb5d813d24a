"""The ECS Anywhere agent: joins a machine to a control plane and runs its tasks."""

__version__ = "0.1.0"
