"""Describes OTLP in OpenAPI, without its messages, which are defined elsewhere.

Protobuf is only mentioned: generators of clients leave out an operation that has a media type they do not know.
"""

from typing import Any

from app.otlp import json

PROTO = "https://github.com/open-telemetry/opentelemetry-proto"
PROTOBUF = "or, as application/x-protobuf, the same message in protobuf."
REQUEST = {
    "title": "ExportTraceServiceRequest",
    "type": "object",
    "description": f"See {PROTO}.",
    "properties": {"resourceSpans": {"type": ["array", "null"], "items": {"type": "object"}}},
}
RESPONSE = {
    "title": "ExportTraceServiceResponse",
    "type": "object",
    "description": "Empty where no span was rejected.",
    "properties": {
        "partialSuccess": {
            "title": "ExportTracePartialSuccess",
            "type": "object",
            "properties": {
                "rejectedSpans": {"type": "string", "description": "A number, as OTLP writes 64 bits in JSON."},
                "errorMessage": {"type": "string", "description": "Why, and how many for each reason."},
            },
        }
    },
}
EXAMPLE = {
    "resourceSpans": [
        {
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "kind": 2,
                            "startTimeUnixNano": "1753108200000000000",
                            "endTimeUnixNano": "1753108200012500000",
                            "attributes": [
                                {"key": "http.request.method", "value": {"stringValue": "GET"}},
                                {"key": "http.response.status_code", "value": {"intValue": "500"}},
                                {"key": "url.scheme", "value": {"stringValue": "https"}},
                                {"key": "server.address", "value": {"stringValue": "api.payments.com"}},
                                {"key": "url.path", "value": {"stringValue": "/orders/123"}},
                            ],
                        }
                    ]
                }
            ]
        }
    ]
}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "description": f"JSON {PROTOBUF} At most 16 MiB, unpacked; Content-Encoding may be gzip.",
    "content": {json.MIMETYPE: {"schema": REQUEST, "example": EXAMPLE}},
}
RESPONSES: dict[str, Any] = {
    "200": {
        "description": f"What could be used is stored. The answer comes as the request did: JSON {PROTOBUF}",
        "content": {json.MIMETYPE: {"schema": RESPONSE}},
    }
}
REFUSALS = {
    400: "The body is no ExportTraceServiceRequest.",
    413: "The request body is too large, or unpacks to too much.",
    415: "Another Content-Type or Content-Encoding.",
    429: "The traffic source has reached its limit of records.",
    503: "The database is in trouble, or too many large requests come at once: try again.",
}
