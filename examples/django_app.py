"""cno-asgi django_app:app --app-dir examples

A Django project in one file (`pip install django`): settings, two views and their URLs.
"""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use outside this example",
)
django.setup()


async def hello(request):
    """Answers with the method and the length of the request's body."""
    return JsonResponse(
        {"message": "Hello from Django", "method": request.method, "size": len(request.body)}
    )


async def countdown(request):
    """Answers with a body in several chunks."""

    async def lines():
        for number in range(10, 0, -1):
            yield f"{number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


urlpatterns = [path("", hello), path("countdown", countdown)]

app = get_asgi_application()
