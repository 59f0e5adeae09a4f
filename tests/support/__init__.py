"""What live and end-to-end tests share."""
