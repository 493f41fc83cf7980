"""The reference target: a small MCP server on Qdrant that does what a correct one must do."""
