"""Release -> endpoint that speaks OpenAI's wire format; requests become traces."""
