"""The entry point. It imports next to nothing, so that Ctrl-C while the rest is imported ends quietly, too."""

from ecs_anywhere import interrupts


def run() -> None:
    interrupts.install()
    try:
        from ecs_anywhere.main import main  # noqa: PLC0415 - that takes a while
    except KeyboardInterrupt:
        raise SystemExit(interrupts.EXIT_CODE) from None
    main()
