"""OpenAI's videos endpoints: clips as jobs that outlive the request."""
