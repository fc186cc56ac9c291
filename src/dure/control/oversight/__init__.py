"""Requests about who may use data, how they are decided, and what they mean for jobs that wait or run."""
