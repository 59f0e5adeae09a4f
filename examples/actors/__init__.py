"""A small interactive narrative over WebSockets: three characters who remember you; see examples/README.md."""
