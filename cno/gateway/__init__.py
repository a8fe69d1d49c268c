"""The surroundings of an ASGI application: its import, its lifespan, the scopes of requests."""
