"""The REST interface: one table of operations, from which routes, access checks and the OpenAPI document are made.

Handlers read from `Platform` and hand every change to the loop in `dure.control`, so that an answer goes out only after
what it says is durable. Errors are problem documents (RFC 9457) with a stable `code`.
"""
