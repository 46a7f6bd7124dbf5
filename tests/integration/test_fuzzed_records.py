"""Whatever JSON is reported: it is refused, or it is a record that reads back, alone and in a batch alike."""

import json
from string import printable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.extensions import db
from app.models import TrafficRecord
from tests.support import examples
from tools.story import record

ODD_TEXTS = """
  / // /%00 /é null [] {} { {"a": "a" 1e999 -0 500 GET //a.b http:// http://[ http://[::1]:99999 HTTPS://A.B:443/
  https://user:pass@a.b
"""
LONG_TEXTS = ["/" + "a" * 5000, "https://" + "a" * 300, "https://\u0130" * 2, "\U0001f4a9" * 70, "[" * 100, "1" * 400]
UNCLEAN_TEXTS = ["", " ", "/\x00", "/a b", "\x00", "\x7f", "\ud800", "https://a b"]
odd_texts = st.sampled_from([*ODD_TEXTS.split(), *LONG_TEXTS, *UNCLEAN_TEXTS])
odd_numbers = st.sampled_from([0, -1, 99, 100, 399, 599, 600, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 5e-324, 500.0])
odd_values = st.one_of(
    odd_texts,
    odd_numbers,
    st.sampled_from([None, True, False, float("nan"), float("inf")]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=12,
    ),
    st.integers(1, 300).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)
plain = st.text(printable, max_size=30)
usual_fields = {
    "domainUrl": st.sampled_from(["https://api.payments.com", "http://[::1]:8080", "HTTPS://API.payments.com:443"]),
    "pathnameUrl": plain.map(lambda text: f"/{text}"),
    "status": st.integers(100, 599),
    "protocol": st.sampled_from(["http", "https", "HTTPS"]),
    "method": st.sampled_from(["get", "POST", "Put"]),
    "trafficUserId": st.none() | plain,
    "elapsedTime": st.floats(0, 1e300) | st.integers(0, 2**70),
    "requestHeaders": st.dictionaries(plain, plain) | st.sampled_from(["{}", '{"a": "b"}', "[]"]),
    "requestBody": odd_values,
    "queryParams": st.dictionaries(plain, odd_values, max_size=3),
    "responseHeaders": st.lists(st.lists(plain, min_size=2, max_size=2), max_size=3),
    "responseBody": odd_values,
    "unknown": odd_values,
}


@st.composite
def almost_records(draw):
    """A record of usual fields, of which a few are odd or missing."""
    fields = record() | draw(st.fixed_dictionaries({}, optional=usual_fields))
    for name in draw(st.lists(st.sampled_from(list(usual_fields)), max_size=2)):
        if draw(st.booleans()):
            fields[name] = draw(odd_values)
        else:
            fields.pop(name, None)
    return fields


def post(story, path, value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = story.client.request(
        "POST", f"/http-traffic-records/{story.source_id}{path}", data=body, content_type="application/json"
    )
    assert answer.status_code in (201, 400), (answer.status_code, body)
    assert answer.json, body
    return answer


def is_taken(story, value):
    return post(story, "", value).status_code == 201


@examples(30, sharing=True)
@given(st.one_of(almost_records(), odd_values, st.binary(max_size=200)))
def test_whatever_is_reported_is_refused_or_reads_back(story, value):
    answer = post(story, "", value)
    if answer.status_code == 400:
        return
    read = story.client.get(f"/http-traffic-records/record/{answer.json['id']}")
    assert read.status_code == 200, value
    assert read.json["status"] == value["status"] == answer.json["status"]
    assert read.json["elapsedTime"] == pytest.approx(value["elapsedTime"])
    assert (read.json["method"], read.json["protocol"]) == (value["method"].lower(), value["protocol"].lower())
    listed = story.client.get(f"/http-traffics/{story.source_id}").json["data"]
    assert listed[0] == answer.json


@examples(15, sharing=True)
@given(st.lists(almost_records() | odd_values, max_size=5))
def test_of_a_batch_is_taken_what_is_taken_alone(story, values):
    wrong = [index for index, value in enumerate(values) if not is_taken(story, value)]
    taken = len(values) - len(wrong)
    before = count_records(story)
    answer = post(story, "/batch", values)
    assert count_records(story) - before == taken
    if taken:
        assert (answer.status_code, answer.json["accepted"]) == (201, taken)
        assert [rejected["index"] for rejected in answer.json["rejected"]] == wrong
    else:
        assert answer.status_code == 400


def count_records(story):
    with story.client.app.app_context():
        return db.session.scalar(select(func.count()).select_from(TrafficRecord))
