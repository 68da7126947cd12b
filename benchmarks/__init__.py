"""Speed and latency against rivals: `python -m benchmarks`. Every number comes from one run on one machine."""
