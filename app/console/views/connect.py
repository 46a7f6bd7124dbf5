"""The page that connects an application: an ingest token, what to paste, and whether a request came."""

from typing import Any

from flask import redirect, render_template, request, url_for

from app.api.traffic_sources.schemas import NewIngestTokenSchema
from app.api.traffic_sources.tokens import issue_and_commit, service_url
from app.console import forms
from app.console.blueprint import blp, is_fragment, refused_on
from app.console.snippets import snippets
from app.extensions import db
from app.models import IngestToken
from app.repositories import traffic_pages, traffic_sources

MAX_TOKENS_SHOWN = 100
FIRST_TOKEN = "first token"  # noqa: S105 # nosec B105


@blp.get("/sources/<id:traffic_source_id>/connect")
def connect_page(traffic_source_id: str) -> Any:
    """Issues the first token at once, which harms nobody and spares whoever comes here a step."""
    latest = traffic_pages.list_before(traffic_source_id, None, 1).items
    if is_fragment():
        return render_template("_waiting.html", source_id=traffic_source_id, latest=latest)
    tokens = traffic_sources.list_ingest_tokens(traffic_source_id, 1, MAX_TOKENS_SHOWN).items
    issued = None
    if not tokens and request.method == "GET" and request.headers.get("Sec-Purpose") is None:
        issued = issue_and_commit(traffic_source_id, FIRST_TOKEN)
        tokens = [issued]
    return _page(traffic_source_id, tokens, issued, latest)


@blp.post("/sources/<id:traffic_source_id>/connect")
@refused_on(connect_page)
def create_token(traffic_source_id: str) -> Any:
    """Answers with the page itself, since only this answer may hold the token."""
    name = forms.current().load(NewIngestTokenSchema(), optional=("name",))["name"]
    issued = issue_and_commit(traffic_source_id, name)
    tokens = traffic_sources.list_ingest_tokens(traffic_source_id, 1, MAX_TOKENS_SHOWN).items
    latest = traffic_pages.list_before(traffic_source_id, None, 1).items
    return _page(traffic_source_id, tokens, issued, latest)


def page_of_token(traffic_source_id: str, token_id: str) -> Any:
    return connect_page(traffic_source_id)


@blp.post("/sources/<id:traffic_source_id>/tokens/<id:token_id>/delete")
@refused_on(page_of_token)
def delete_token(traffic_source_id: str, token_id: str) -> Any:
    traffic_sources.delete_ingest_token(traffic_source_id, token_id)
    db.session.commit()
    return redirect(url_for("console.connect_page", traffic_source_id=traffic_source_id))


def _page(source_id: str, tokens: list[IngestToken], issued: IngestToken | None, latest: list[Any]) -> Any:
    source = traffic_sources.get(source_id)
    given = snippets(service_url(), source, getattr(issued, "token", None))
    return render_template(
        "connect.html", source=source, source_id=source_id, tokens=tokens, issued=issued, latest=latest, snippets=given
    )
