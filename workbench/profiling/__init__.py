"""What is in a schema, whether it can be trusted, how it hangs together and what changed."""
