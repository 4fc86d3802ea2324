"""The server: receivers, query API, and how they are put together."""
