"""Front processes: N processes that read and write HTTP, one engine process that owns everything else.

```
client ── front (short way: parse, decode, encode) ── link: bundles of requests ──── engine: route, batch, compute
             └── every other request ────────────────── tunnel: ASGI over a socket ── the engine's own application
```

The invariant: **the engine routes every request, at the moment it queues the rows.** What a front knows of versions
is a cache that only says how to decode. A request carries the id of the served version it was decoded for; where the
engine's routing has moved on, nothing is computed: the engine sends what serves now and then `Superseded`, in this
order on one stream, and the front decodes again. A front refuses a request only after the engine has confirmed that
the version it was decoded for is still the one. So a connection, and any two requests one of which was sent after
the other's answer was read, never see an older version after a newer one, whichever fronts and ways they took: all
versions come from one assignment in one process, as with a single process.

`messages`, `bundle`, `stream` and `frames` are the wire; `link`, `remote`, `inference`, `counts` and `tunnel` live in
a front; `engine`, `tunnel_server` and `supervisor` in the engine.
"""
