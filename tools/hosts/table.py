"""Renders the rows as a Markdown table, and docs/hosts.md."""

from collections.abc import Sequence

from tools.hosts.scene import Outage

HEADER = """\
| fault | accepted | told | lost | twice | no answer | slowest report | no message | one webhook, no message |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def line(outage: Outage) -> str:
    row = outage.row
    counts = (row.accepted, row.delivered, row.lost, row.sent_twice)
    gaps = (outage.answers, outage.report, outage.messages, outage.webhook)
    cells = [row.fault, *(f"{count:,}" for count in counts), *(f"{gap:.1f} s" for gap in gaps)]
    return f"| {' | '.join(cells)} |"


def table(outages: Sequence[Outage]) -> str:
    return "\n".join([HEADER, *map(line, outages)])


def document(outages: Sequence[Outage]) -> str:
    return f"""\
# What several hosts survive

`make hosts`, as root, makes three API hosts, two dispatcher hosts, PostgreSQL and its synchronous replica, each in a
network namespace of its own, and clients that report without a pause. A client waits up to 3 s for an answer, and
then repeats the report, with its `reportId`, at the next API host. Each fault strikes under this load; messages are
counted at a stand-in for Discord. The suite fails if an event is lost, or a message is sent twice.
To repeat one row: `.venv/bin/python -m tools.hosts --only "address moved"`.

{table(outages)}

- **accepted**, **told**: records answered `201` or `200`, and events in the messages that arrived. **lost**, **twice**:
  see [faults.md](faults.md); all webhooks are channels of a bot.
- **no answer**: the longest time in which no client had a report accepted. **slowest report**: the longest time from a
  client's first try of a report until a host accepted it.
- **no message**: the longest time without a message at all. **one webhook, no message**: of one webhook, whose events
  gather for a second before each message. Had a lost dispatcher claimed a message, the other one would take it up when
  the lease of 30 s ends; one that cannot reach Discord puts messages off, and claims others.
- **cut**: packets vanish, and no connection is closed. **PostgreSQL's host lost**: the same, and `kill -9`; the replica
  is promoted 3 s later.
- Clocks are wrong by libfaketime. The migration adds a column to four tables; the old code is the same as the new.
"""
