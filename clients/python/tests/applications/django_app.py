from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="applications.django_urls",
    SECRET_KEY="only for tests",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING_CONFIG=None,
)

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

from arkyn_reporter import Reporter  # noqa: E402

reporter = Reporter()
app = reporter.wsgi(get_wsgi_application())
asgi = reporter.asgi(get_asgi_application())
