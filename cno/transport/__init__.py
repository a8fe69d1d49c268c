"""The parts that client and server connections share on asyncio: reading, writing, bodies."""
