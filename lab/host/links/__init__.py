"""The links between load, MCP server and store: Toxiproxy, and what is measured through it."""
