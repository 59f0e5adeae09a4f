"""One module per library or part of the interpreter that is watched; each is loaded when the program has loaded that.

Every module has ``install(module)``, which changes the loaded module in place. None imports what it instruments.
"""
