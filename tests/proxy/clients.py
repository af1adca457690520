"""The SDK's clients, started with some patience."""

START_ATTEMPTS = 3


def started(build):
    """What `build` makes, started: a start gives up at the first request that takes longer than 3 s."""
    for attempt in range(1, START_ATTEMPTS + 1):
        client = build()
        try:
            client.startup()
            return client
        except Exception:
            if attempt == START_ATTEMPTS:
                raise
