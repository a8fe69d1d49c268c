"""What a connection of either role is on an asyncio event loop: reading, writing, bodies."""
