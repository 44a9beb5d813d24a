"""What every entity is: a frozen value whose attributes in the table read like Amazon ECS's own."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Entity(BaseModel):
    """camelCase in the table, snake_case here; identifiers are stored and ARNs computed (domain/arns.py)."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
