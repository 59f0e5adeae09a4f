"""A report service that depends on a database, a cache and another service, and lives through their failures."""
