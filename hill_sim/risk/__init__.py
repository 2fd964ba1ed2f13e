"""What an intervention did, and how sure that is: pure functions on arrays, always relative to the twin."""
