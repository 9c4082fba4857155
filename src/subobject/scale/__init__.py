"""Many images: one run that survives broken inputs and resumes."""
