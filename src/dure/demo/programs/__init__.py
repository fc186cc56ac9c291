"""What the story's jobs run: real programs that need NumPy and know of Dure only what its environment tells a job."""
