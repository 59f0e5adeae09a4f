"""The Snapshot as plain text: values in, lines out; nothing here touches a terminal."""
