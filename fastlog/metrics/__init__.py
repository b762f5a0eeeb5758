"""Metrics of a server for Prometheus and other readers of OpenMetrics, and its health.

Everything is read from the files that the server's processes write, so it costs them nothing.
"""
