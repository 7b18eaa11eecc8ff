"""The parts of `bench/run.py`: scenarios, brokers, measurements, results, tables and charts."""
