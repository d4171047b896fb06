"""What it costs, measured on this machine against what people use today."""
