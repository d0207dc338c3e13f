"""The request contract of the images and videos endpoints, for the gateway and the runtime alike.

Clients of many systems call these endpoints: OpenAI's, LocalAI's, GPUStack's, sd-api-server's. So every field is known
under each name that one of them uses, and every path under each that one of them documents.

`paths` says which paths there are, `fields` which fields, `request` reads a request, `model_rules` applies what a
model's spec says about it, `answers` decides how the pictures come back, `streams` writes events.
"""
