"""What this machine can do: ceilings, training steps and the input path, measured one way for `launch.py bench` and for benchmarks/."""
