"""Files that are there whole or not at all, whenever the command is cut off."""

from pathlib import Path


def write_whole(file: Path, content: str) -> None:
    """For the owner's eyes only. What it replaces stays until it is complete."""
    half = file.with_name(f"{file.name}.half")
    half.touch(mode=0o600)
    half.chmod(0o600)
    half.write_text(content)
    half.replace(file)
