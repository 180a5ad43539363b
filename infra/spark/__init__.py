"""A real Spark cluster on one machine, and how a job is submitted to a larger one."""
