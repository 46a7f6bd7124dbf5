"""Events for the tests of what is made of them."""

from typing import Any

from hypothesis import strategies as st

from app.digests import Event

NOW = 1_753_108_200_000


def event(elapsed: float = 12.5, at: int = NOW, **fields: Any) -> Event:
    defaults = {"method": "get", "host": "api.example.com", "path": "/orders", "status": 500}
    return Event(**{**defaults, "at": at, "elapsed": elapsed, "record_id": f"record-{at}", **fields})


methods = st.sampled_from(["get", "post"])
hosts = st.sampled_from(["a.example.com", "b.example.com"])
elapsed_times = st.one_of(st.floats(0, 1e308), st.floats(0, 100_000), st.sampled_from([0.0, 1.0, 1e-320, 1e308]))
times = st.integers(0, 4_102_444_800_000)


def events(
    paths: st.SearchStrategy[str], statuses: st.SearchStrategy[int], hosts: st.SearchStrategy[str] = hosts
) -> st.SearchStrategy[Event]:
    return st.builds(
        event,
        elapsed=elapsed_times,
        at=times,
        method=methods,
        host=hosts,
        path=paths,
        status=statuses,
        record_id=st.uuids().map(str),
    )
