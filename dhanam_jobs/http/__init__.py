"""The HTTP face: translates requests into calls of the handlers and the engine, and decides nothing itself.

`app.create_app` builds the application, `serve` runs it in a running loop, `tokens` makes and checks tokens.
Nothing is imported here, so that the command line can make a token without loading a web framework.
"""
