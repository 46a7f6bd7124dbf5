import uuid

import pytest

from arkyn_reporter.routes import asgi_route, from_django, to_braces


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        ("/orders/<id>", "/orders/{id}"),
        ("/orders/<int:id>/items/<string(length=2):code>", "/orders/{id}/items/{code}"),
        ("/<any(about, 'a:b'):page>", "/{page}"),
        ("/files/<path:name>", "/files/{name}"),
        ("/orders/{id:int}", "/orders/{id}"),
        ("/orders/{id}", "/orders/{id}"),
        ("/plain", "/plain"),
    ],
)
def test_rules_become_templates(rule, template):
    assert to_braces(rule) == template


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("", "/"),
        ("orders/<int:pk>/", "/orders/{pk}/"),
        ("^orders/(?P<pk>[0-9]+)/$", "/orders/{pk}/"),
        (r"api/^orders/(?P<pk>[^/.]+)\.(?P<format>[a-z0-9]+)/?$", "/api/orders/{pk}.{format}/"),
        (r"^a/(?P<x>(\d{2}|[)(]+))/(\w+)/\Z", "/a/{x}/{}/"),
        ("shop/<slug:s>/^(?P<rest>.*)$", "/shop/{s}/{rest}"),
        ("^(?P<broken", "/{}"),
    ],
)
def test_routes_of_django_become_templates(route, template):
    assert from_django(route) == template


ID = uuid.UUID("0198c1de-0000-7000-8000-00000000000a")


@pytest.mark.parametrize(
    ("path", "parameters", "template"),
    [
        ("/orders/42", {"id": 42}, "/orders/{id}"),
        ("/orders/042", {"id": 42}, "/orders/{id}"),
        ("/1/orders/1", {"id": "1"}, "/1/orders/{id}"),
        ("/1/orders/1", {"a": "1", "b": "1"}, "/{a}/orders/{b}"),
        (f"/o/{str(ID).upper()}", {"id": ID}, "/o/{id}"),
        ("/files/a/b/c.txt", {"name": "a/b/c.txt"}, "/files/{name}"),
        ("/o/5", {"id": "elsewhere"}, "/o/5"),
        ("/o/5", {}, None),
    ],
)
def test_path_parameters_give_way_to_their_names(path, parameters, template):
    assert asgi_route({"path_params": parameters}, path) == template
