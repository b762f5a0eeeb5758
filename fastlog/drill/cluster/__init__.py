"""`fastlog drill --cluster`: the same with collectors, JetStream, centrals and PostgreSQL.

- `nats_servers` and `postgres_server` run the programs of others, which `programs` finds.
- `fleet` starts all servers, and `harness` injects faults into them, and by `network` into what is
  between them.
- `scenario` says which faults happen in which phase.
"""
