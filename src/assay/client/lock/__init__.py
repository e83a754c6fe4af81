"""Lock files of every installer, read into one shape and checked against a trusted index. Nothing is installed."""
