"""OTLP requests for tests, in both encodings."""

from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from app.models.columns import utcnow

SERVER = 2
ERROR = 2
SECOND = 1_000_000_000
TRACE_ID = "5b8efff798038103d269b633813fc60c"
SPAN_ID = "eee19b7ec3c1b174"

STABLE = {
    "http.request.method": "POST",
    "http.response.status_code": 503,
    "url.scheme": "https",
    "url.path": "/orders/123",
    "url.query": "page=1&tag=a&tag=b",
    "server.address": "api.payments.com",
    "server.port": 443,
    "http.route": "/orders/{id}",
    "user_agent.original": "curl/8",
}
OLDER = {
    "http.method": "POST",
    "http.status_code": 503,
    "http.scheme": "https",
    "http.host": "api.payments.com",
    "http.target": "/orders/123?page=1&tag=a&tag=b",
    "http.route": "/orders/:id",
    "http.user_agent": "curl/8",
}


def span(attributes: dict[str, Any] = STABLE, *, number: int = 0, **fields: Any) -> dict[str, Any]:
    """A span as JSON has it, of a request that took 12.5 ms and began a minute ago."""
    start = int(utcnow().timestamp()) * SECOND - 60 * SECOND
    return {
        "traceId": TRACE_ID,
        "spanId": f"{int(SPAN_ID, 16) + number:016x}",
        "name": "POST /orders/{id}",
        "kind": SERVER,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 12_500_000),
        "attributes": [{"key": name, "value": any_value(value)} for name, value in attributes.items()],
        **fields,
    }


def any_value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(each) for each in value]}}
        case dict():
            return value
    return {"stringValue": value}


def as_dict(*spans: Any, service_name: str = "shop") -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service_name}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


def as_json(*spans: Any, service_name: str = "shop") -> bytes:
    return orjson.dumps(as_dict(*spans, service_name=service_name))


def as_message(*spans: dict[str, Any], service_name: str = "shop") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value=service_name)))
    scope_spans = resource_spans.scope_spans.add()
    for each in spans:
        message = scope_spans.spans.add()
        message.trace_id = bytes.fromhex(each["traceId"])
        message.span_id = bytes.fromhex(each["spanId"])
        message.name = each["name"]
        message.kind = each["kind"]
        message.start_time_unix_nano = int(each["startTimeUnixNano"])
        message.end_time_unix_nano = int(each["endTimeUnixNano"])
        message.status.code = each.get("status", {}).get("code", 0)
        message.attributes.extend(_key_value(attribute) for attribute in each["attributes"])
    return request


def as_protobuf(*spans: dict[str, Any], service_name: str = "shop") -> bytes:
    return as_message(*spans, service_name=service_name).SerializeToString()


def _key_value(attribute: dict[str, Any]) -> KeyValue:
    (kind, value), *_ = attribute["value"].items()
    match kind:
        case "stringValue":
            return KeyValue(key=attribute["key"], value=AnyValue(string_value=value))
        case "intValue":
            return KeyValue(key=attribute["key"], value=AnyValue(int_value=int(value)))
        case "doubleValue":
            return KeyValue(key=attribute["key"], value=AnyValue(double_value=value))
        case "boolValue":
            return KeyValue(key=attribute["key"], value=AnyValue(bool_value=value))
    message = KeyValue(key=attribute["key"])
    for each in value["values"]:
        message.value.array_value.values.append(_key_value({"key": "", "value": each}).value)
    return message
