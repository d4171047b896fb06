"""One self-contained HTML file per run, and an index over all of them."""
