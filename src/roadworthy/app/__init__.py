"""What runs inside the user's program: it never raises out, never waits, and costs nanoseconds."""
