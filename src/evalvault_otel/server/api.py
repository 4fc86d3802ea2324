"""Minimal until the real one lands."""

from fastapi import FastAPI


def create_api(store, settings, registry):  # type: ignore
    app = FastAPI()

    @app.get("/livez")
    def livez():  # type: ignore
        return {"status": "ok"}

    return app
