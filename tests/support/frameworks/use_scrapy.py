"""A spider, by CrawlerProcess, with all that Scrapy logs at DEBUG."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import scrapy
from attached import attach
from scrapy.crawler import CrawlerProcess


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        number = int(self.path.strip("/") or 0)
        body = f'<html><body><a href="/{number + 1}">next</a></body></html>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Spider(scrapy.Spider):
    name = "pages"

    def parse(self, response: Any) -> Iterator[Any]:
        for _ in range(5):
            self.logger.info("parsing %s", response.url)
        yield {"url": response.url}
        for link in response.css("a::attr(href)").getall():
            if link != "/20":
                yield response.follow(link, self.parse)


pages = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=pages.serve_forever, daemon=True).start()
attach()
settings = {"LOG_LEVEL": "DEBUG", "TELNETCONSOLE_ENABLED": False, "DOWNLOAD_DELAY": 0}
process = CrawlerProcess(settings)
process.crawl(Spider, start_urls=[f"http://127.0.0.1:{pages.server_port}/0"])
process.start()
logging.getLogger("app").info("after the framework")
