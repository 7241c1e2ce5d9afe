"""The models that a server offers."""

from __future__ import annotations

from openunmix.pretrained.registry import MODELS


def test_models_state_their_licences(server):
    models = {model["name"]: model for model in server.get("/api/models").json()}
    assert list(models) == ["tiny", *MODELS]
    assert [model["name"] for model in models.values() if model["default"]] == ["tiny"]
    assert models["umxs"]["bundled"]
    assert models["umxl"]["licence"] == MODELS["umxl"].licence
    assert models["umxhq"]["size"] == MODELS["umxhq"].size
    assert models["tiny"]["downloaded"]
