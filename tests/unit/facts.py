"""Events and digests for the tests of what is made of them."""

from typing import Any

from hypothesis import strategies as st

from app.discord.digest import Group, power_of

NOW = 1_753_108_200_000


def event(elapsed: float = 12.5, at: int = NOW, **fields: Any) -> Group:
    """A group of one event."""
    return Group(
        **{
            "method": "get",
            "path": "/orders",
            "status": 500,
            "first_at": at,
            "last_at": at,
            "slowest": elapsed,
            "durations": {power_of(elapsed): 1},
            "record_id": f"record-{at}",
            **fields,
        }
    )


methods = st.sampled_from(["get", "post"])
elapsed_times = st.one_of(st.floats(0, 1e308), st.floats(0, 100_000), st.sampled_from([0.0, 1.0, 1e-320, 1e308]))
times = st.integers(0, 4_102_444_800_000)


def events(paths: st.SearchStrategy[str], statuses: st.SearchStrategy[int]) -> st.SearchStrategy[Group]:
    return st.builds(
        event,
        elapsed=elapsed_times,
        at=times,
        method=methods,
        path=paths,
        status=statuses,
        record_id=st.uuids().map(str),
    )
