"""django.setup() with LOGGING, then requests, some of which fail."""

from __future__ import annotations

import logging
from typing import Any

import django
from attached import attach
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

log = logging.getLogger("shop.views")


def works(request: HttpRequest, number: int) -> HttpResponse:
    log.info("page %d", number)
    return HttpResponse("ok")


def fails(request: HttpRequest, number: int) -> HttpResponse:
    log.warning("page %d will fail", number)
    raise ValueError(number)


urlpatterns = [path("works/<int:number>", works), path("fails/<int:number>", fails)]


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {
        "shop": {"handlers": ["null"], "level": "INFO"},
        "django": {"handlers": ["null"], "level": "INFO", "propagate": True},
    },
}

attach()
settings.configure(
    ALLOWED_HOSTS=["*"], LOGGING=LOGGING, ROOT_URLCONF=__name__, SECRET_KEY="test", DEBUG=False
)
django.setup()

from django.test import Client  # noqa: E402  # it needs the settings

client = Client(raise_request_exception=False)
for number in range(10):
    assert client.get(f"/works/{number}").status_code == 200
    assert client.get(f"/fails/{number}").status_code == 500
    assert client.get(f"/nowhere/{number}").status_code == 404
log.info("after the framework")
