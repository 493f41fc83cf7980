"""The links between load, MCP server and store: Toxiproxy, and measurements through its proxies."""
