"""Options that many commands share."""

from pathlib import Path

import click

from ecs_anywhere.settings import default_state_dir

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    help="Where the local stack keeps what is its own. [env: ECS_ANYWHERE_STATE_DIR; default: "
    "~/.local/state/ecs-anywhere]",
)
stack_name_option = click.option("--stack-name", help="A stack on AWS, with your ordinary AWS credentials.")
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: the result alone, as JSON, on stdout.",
)
cluster_option = click.option("--cluster", default="default", show_default=True)
