"""AUTOMATIC1111's API, as far as the tools that speak it need: SillyTavern, Open WebUI and the like."""
