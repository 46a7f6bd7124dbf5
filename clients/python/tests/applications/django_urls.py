import io

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path


def order(request, **parameters):
    return HttpResponse("ok")


def fail(request):
    raise RuntimeError


def stream(request):
    return StreamingHttpResponse((b"x" * 1000 for _ in range(5)), content_type="text/plain")


def file(request):
    return FileResponse(io.BytesIO(b"data"), filename="a.txt")


urlpatterns = [
    path("orders/<int:id>", order),
    path("shops/<slug:shop>/", include([re_path(r"^items/(?P<name>.+)$", order)])),
    path("fail", fail),
    path("stream", stream),
    path("file", file),
]
