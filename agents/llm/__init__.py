"""Language models: one small interface over OpenAI, Anthropic and any OpenAI-compatible server."""
