"""What Schemathesis needs to know of the service: how to sign in, and which things there are."""

import itertools
import os
from string import ascii_letters
from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

from tools.processes import Server, eventually
from tools.story import Client, Story

EMAIL = "ana@example.com"


def fresh_domain() -> str:
    return f"{uuid4()}.example.com"


SERVICE_URL = os.environ["SERVICE_URL"]
client = Client(Server(SERVICE_URL)).sign_in(EMAIL)  # type: ignore[arg-type]
story = Story(client, domain=fresh_domain())
webhook_id = story.create_webhook()
record_id = story.report()
turns = itertools.count()


def fresh_share() -> str:
    """An invitation of somebody else, by the user who signs in, to a new source."""
    email = f"{uuid4()}@example.com"
    client.sign_up(email)
    body = {"trafficSourceId": client.create_source(domain=fresh_domain()), "userEmail": email}
    return str(client.post("/shared-traffic-sources", body).json["id"])


def delivery_id() -> str:
    deliveries = client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    return str(deliveries[0]["id"]) if deliveries else ""


existing = {
    "/traffic-sources": story.source_id,
    "/webhooks": webhook_id,
    "/deliveries": eventually(delivery_id, "the record makes a delivery"),
    "/http-traffic-records/record": record_id,
    "/shared-traffic-sources": fresh_share(),
}
domain_id = client.get(f"/domains/{story.source_id}").json["data"][0]["id"]


@schemathesis.auth()
class SignedIn:
    def get(self, case: Case, context: AuthContext) -> str:
        return str(client.token)

    def set(self, case: Case, data: str, context: AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_generate_case(context: HookContext, strategy: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    """What has no parameters would be called once: a header that is ignored makes more cases of it."""
    return st.builds(with_ignored_header, strategy, st.text(ascii_letters, max_size=20))


def with_ignored_header(case: Case, text: str) -> Case:
    if not case.operation.query:
        case.headers["X-Ignored"] = text
    return case


@schemathesis.hook
def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    """An empty parameter counts as not given, whatever it should be; objects and arrays may be sent as one."""
    return not any(value == "" or isinstance(value, dict | list) for value in (query or {}).values())


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Two of three requests are about something that exists, and none spoils it for those that follow."""
    if case.headers.get("Authorization") != f"Bearer {client.token}":
        return
    label, named = case.operation.label, case.path_parameters
    wanted = bool(next(turns) % 3) and not is_stateful(case)
    if label == "POST /user/logout":
        case.headers["Authorization"] = f"Bearer {sign_in().token}"
    if named and (wanted or spoils(label, named)):
        named.update(parameters_of(label, named))
    if wanted and is_positive(case) and isinstance(case.body, dict) and "trafficSourceId" in case.body:
        case.body["trafficSourceId"] = story.source_id


def sign_in() -> Client:
    return client.sign_in(client.get("/user").json["email"])


def first_name(label: str) -> str:
    """The name of the first parameter in the path: of what the operation is about."""
    return label.partition("{")[2].partition("}")[0]


def spoils(label: str, named: dict[str, Any]) -> bool:
    return label.startswith("DELETE") and named[first_name(label)] in existing.values()


def parameters_of(label: str, named: dict[str, Any]) -> dict[str, str]:
    parameters = {first_name(label): thing_id(label)}
    if "recordId" in named and first_name(label) == "trafficSourceId":
        parameters["recordId"] = record_id
    if "domainId" in named:
        parameters["domainId"] = domain_id
    if "tokenId" in named:
        parameters["tokenId"] = story.create_token()["id"]
    return parameters


def thing_id(label: str) -> str:
    match label.split():
        case ["DELETE", "/traffic-sources/{trafficSourceId}"]:
            return fresh_source()
        case ["DELETE", "/webhooks/{trafficSourceId}"]:
            return fresh_webhook()
        case ["DELETE", "/http-traffic-records/record/{recordId}"]:
            return story.report()
        case ["DELETE", "/shared-traffic-sources/{shareId}"]:
            return fresh_share()
        case ["POST", "/webhooks/{trafficSourceId}"]:
            return fresh_source()
        case ["PUT", "/webhooks/{trafficSourceId}"]:
            return webhook_id
        case [_, "/webhooks/{trafficSourceId}"]:
            return story.source_id
    path = label.split()[1]
    return next((id for kind, id in existing.items() if path.startswith(kind + "/{")), story.source_id)


def fresh_source() -> str:
    return client.create_source(domain=fresh_domain())


def fresh_webhook() -> str:
    return Story(client, domain=fresh_domain()).create_webhook()


def is_stateful(case: Case) -> bool:
    return bool(case.meta and case.meta.phase.name == "stateful")


def is_positive(case: Case) -> bool:
    return bool(case.meta and case.meta.generation.mode.is_positive)


@schemathesis.check
def no_answer_without_a_token(ctx: CheckContext, response: Response, case: Case) -> None:
    """What was answered to somebody signed in is refused to everybody else."""
    is_other_method = response.request.method != case.operation.method.upper()
    if response.status_code >= 300 or is_other_method or not case.operation.definition.raw["security"]:
        return
    path = response.request.url.removeprefix(SERVICE_URL)
    for headers, code in [({}, 400), ({"Authorization": "Bearer nonsense"}, 401)]:
        answer = Client(client.app).request(case.method, path, headers=headers)
        assert answer.status_code == code, f"{case.method} {path} with {headers}: {answer.status_code}"


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(f"{case.operation.label}\n")
