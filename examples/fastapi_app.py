"""cno-asgi fastapi_app:app --app-dir examples

A FastAPI application (`pip install fastapi python-multipart`): parameters, a JSON body, a form with
a file, and documentation at /docs.
"""

from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

app = FastAPI(title="An example for cno")


class Item(BaseModel):
    """The JSON body of POST /items."""

    name: str
    price: float = 0.0


@app.get("/")
async def hello(name: str = "you"):
    """Takes a parameter from the query string."""
    return {"message": f"Hello {name}, from FastAPI"}


@app.post("/items", status_code=201)
async def create(item: Item):
    """Takes a JSON body, which FastAPI checks."""
    return item


@app.post("/files")
def count(file: UploadFile):
    """Takes a form with a file; a plain function like this one runs in a thread."""
    return {"name": file.filename, "size": len(file.file.read())}
