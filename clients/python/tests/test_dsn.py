import pytest

from arkyn_reporter.dsn import InvalidDsn, parse_dsn


def test_a_dsn_names_token_host_and_source():
    dsn = parse_dsn(" https://a.b-c_d@reports.example.com/0198c1de-0000-7000-8000-000000000001\n")
    assert (dsn.scheme, dsn.host, dsn.port, dsn.token) == ("https", "reports.example.com", None, "a.b-c_d")
    assert dsn.path == "/http-traffic-records/0198c1de-0000-7000-8000-000000000001/batch"
    assert dsn.service == "https://reports.example.com"


def test_a_service_may_have_a_port_a_path_and_an_ipv6_address():
    dsn = parse_dsn("http://t@[::1]:8000/under/here/source/")
    assert (dsn.host, dsn.port) == ("::1", 8000)
    assert dsn.path == "/under/here/http-traffic-records/source/batch"
    assert dsn.service == "http://[::1]:8000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "ftp://secret@host/id",
        "http://host/id",
        "http://secret@/id",
        "http://secret@host/",
        "http://secret@host",
        "http://secret@host/a b",
        "http://secret@host/id?x=1",
        "http://secret@host:port/id",
        "http://secret@host:99999/id",
        "http://secret:secret@host/id",
        "http://secret%0d%0aX: y@host/id",
        "http://secret@[::1/id",
        "http://secret@ho st/id",
        "http://secret@höst/id",
        "http://secret@host/secret?/secret/id",
    ],
)
def test_anything_else_is_refused_without_being_quoted(text):
    with pytest.raises(InvalidDsn) as refused:
        parse_dsn(text)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_token_is_not_shown():
    assert "secret" not in repr(parse_dsn("http://secret@host/id"))
