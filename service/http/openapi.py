"""What /docs says of requests: the routes read their bodies themselves, so their forms are described here."""

from __future__ import annotations

from typing import Any

from service.http.openai.embeddings import EmbeddingsOptions
from service.http.options import EmbedOptions, Options, ReconstructOptions, TokensOptions
from service.tokens.token_file import SAFETENSORS

EXAMPLE_IMAGE = "data:image/jpeg;base64,/9j/4AAQ…"
FILE = {"type": "string", "format": "binary"}
FILES = {"type": "array", "items": FILE, "description": "One image, or several under the same name."}
BASE64 = {"type": "string", "description": "Base64 or a data URI."}
TOKENS = {
    "type": "object",
    "description": "An item of what /tokens answers: semantics, localization, and their grid if it is told.",
}

EXAMPLE_EDITS = [
    {"op": "drop", "token": 3},
    {"op": "scale", "token": 5, "factor": 2.5},
    {"op": "swap", "tokens": [1, 2]},
    {"op": "move", "token": 4, "dx": 2, "dy": 0},
    {"op": "paint", "token": 7, "rectangle": [0, 0, 3, 2]},
    {"op": "blend", "token": 6, "toward": {"donor": 0, "token": 2}, "alpha": 0.5},
]

PROBLEM = {
    "description": "A problem document (RFC 9457); `code` is stable.",
    "content": {
        "application/problem+json": {
            "example": {
                "type": "about:blank",
                "title": "Corrupt image",
                "status": 422,
                "code": "corrupt_image",
                "detail": "The image is truncated or damaged: send the whole file, or save it anew.",
                "request_id": "5f0c1a…",
            }
        }
    },
}


def _docs(
    options: type[Options], example: dict[str, Any], answers: dict[str, Any], *, tokens: bool = False
) -> dict[str, Any]:
    fields = options.model_json_schema()["properties"]
    files = {"image": FILES} | ({"donor": FILES, "tokens": FILE} if tokens else {})
    strings = {"image": BASE64, "images": {"type": "array", "items": BASE64}}
    if tokens:
        strings |= {"donors": {"type": "array", "items": BASE64}, "tokens": TOKENS}
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": {"type": "object", "properties": files | fields}},
        "application/json": {
            "schema": {"type": "object", "properties": strings | fields},
            "example": example,
        },
        "image/*": {"schema": FILE},
    }
    if tokens:
        content[SAFETENSORS] = {"schema": FILE}
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "In a batch each item has its own result or error.", "content": answers},
            "default": PROBLEM,
        },
    }


EMBED_DOCS = _docs(
    EmbedOptions,
    {"image": EXAMPLE_IMAGE},
    {
        "application/json": {
            "example": {
                "model": "stellar-tiny@0123456789ab",
                "pooling": "whitened",
                "dimension": 192,
                "data": [{"index": 0, "embedding": [0.021, -0.113]}],
            }
        },
        "application/x-npy": {"schema": FILE},
    },
)

TOKENS_DOCS = _docs(
    TokensOptions,
    {"image": EXAMPLE_IMAGE, "heatmaps": True},
    {
        "application/json": {
            "example": {
                "model": "stellar-tiny@0123456789ab",
                "grid": [8, 8],
                "num_sparse_tokens": 16,
                "width": 192,
                "data": [
                    {
                        "index": 0,
                        "semantics": [[0.3, -1.2]],
                        "localization": [[[0.9, 0.1]]],
                        "grid": [8, 8],
                        "concepts": [[0.1, -0.4]],
                        "source": {
                            "width": 640,
                            "height": 480,
                            "rectangle": [80, 0, 560, 480],
                            "box": [0, 0, 640, 480],
                        },
                    }
                ],
            }
        },
        SAFETENSORS: {"schema": FILE},
        "image/png": {"schema": FILE},
    },
)

RECONSTRUCT_DOCS = _docs(
    ReconstructOptions,
    {"image": EXAMPLE_IMAGE, "donors": [EXAMPLE_IMAGE], "edits": EXAMPLE_EDITS},
    {
        "image/png": {"schema": FILE},
        "image/webp": {"schema": FILE},
        "image/jpeg": {"schema": FILE},
        "application/json": {
            "example": {
                "model": "stellar-tiny@0123456789ab",
                "data": [{"index": 0, "image": "iVBORw0KGgo…", "media_type": "image/png", "psnr_db": 19.64}],
            }
        },
    },
    tokens=True,
)


def _json_docs(
    properties: dict[str, Any], example: dict[str, Any], answer: dict[str, Any], error: dict[str, Any]
) -> dict[str, Any]:
    def content(of: dict[str, Any]) -> dict[str, Any]:
        return {"application/json": {"example": of}}

    body = {"schema": {"type": "object", "properties": properties}, "example": example}
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "Successful response", "content": content(answer)},
            "default": {"description": "An error", "content": content(error)},
        },
    }


EMBEDDINGS_DOCS = _json_docs(
    EmbeddingsOptions.model_json_schema()["properties"],
    {"model": "stellar-tiny", "input": [EXAMPLE_IMAGE]},
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.021, -0.113]}],
        "model": "stellar-tiny@0123456789ab",
        "pooling": "whitened",
        "usage": {"prompt_tokens": 144, "total_tokens": 144},
    },
    {
        "error": {
            "message": "The image is truncated or damaged: send the whole file, or save it anew.",
            "type": "invalid_request_error",
            "param": "input",
            "code": "corrupt_image",
        }
    },
)

INFER_DOCS = _json_docs(
    {"id": {"type": "string"}, "parameters": {"type": "object"}}
    | {name: {"type": "array", "items": {"type": "object"}} for name in ("inputs", "outputs")},
    {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["/9j/4AAQ…"]}]},
    {
        "model_name": "embed",
        "model_version": "0123456789ab",
        "parameters": {"pooling": "whitened"},
        "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [1, 192], "data": [0.021, -0.113]}],
    },
    {"error": "input image: expected UINT8 [-1, 96, 96, 3], got FP32 [1, 96, 96, 3]."},
)
