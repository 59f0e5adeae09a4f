"""The Snapshot over HTTP: documents, metrics, the event stream and the page."""
