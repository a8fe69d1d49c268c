"""What an application needs around it: its import, its lifespan, the scope of a request."""
