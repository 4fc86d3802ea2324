"""The tests: real databases, real sockets, real OpenTelemetry SDKs, no mocks."""
