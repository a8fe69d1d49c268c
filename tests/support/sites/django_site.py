"""A Django project in one file."""

import asyncio

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        f"{__name__}.stamp",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use outside the tests",
)
django.setup()

seen = {"streams": 0, "cleaned": 0}


def stamp(get_response):
    """A synchronous middleware."""

    def middleware(request):
        response = get_response(request)
        response["X-Stamp"] = request.method
        return response

    return middleware


async def hello(request):
    return JsonResponse({"path": request.path, "host": request.get_host(), "q": request.GET})


def sync(request, number):
    return JsonResponse({"number": number, "scheme": request.scheme})


@csrf_exempt
def form(request):
    upload = request.FILES["file"]
    return JsonResponse(
        {"note": request.POST["note"], "name": upload.name, "size": len(upload.read())}
    )


@csrf_exempt
async def upload(request):
    size = 0
    while piece := request.read(65536):
        size += len(piece)
    return JsonResponse({"size": size})


async def lines(request):
    async def numbers():
        for number in range(1000):
            yield f"{number}\n"

    return StreamingHttpResponse(numbers(), content_type="text/plain")


async def events(request):
    async def ticks():
        seen["streams"] += 1
        number = 0
        try:
            while True:
                number += 1
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)
        finally:
            seen["cleaned"] += 1

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def report(request):
    return JsonResponse(seen)


def file(request):
    return FileResponse(open(__file__, "rb"))


def fail(request):
    raise RuntimeError("as it was asked to")


def redirect(request):
    return HttpResponseRedirect("/sync/5")


def cookies(request):
    response = JsonResponse(dict(request.COOKIES))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def headers(request):
    return HttpResponse("own", headers={"Date": "now", "Server": "own", "X-Mixed-Case": "1"})


urlpatterns = [
    path("", hello),
    path("sync/<int:number>", sync),
    path("form", form),
    path("upload", upload),
    path("lines", lines),
    path("events", events),
    path("report", report),
    path("file", file),
    path("fail", fail),
    path("redirect", redirect),
    path("cookies", cookies),
    path("headers", headers),
]

app = get_asgi_application()
