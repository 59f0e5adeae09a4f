"""What is unsafe in a project, one module a subject: findings that name the place and never the secret."""
