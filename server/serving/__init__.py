"""Which version answers: versions are noticed, loaded, checked, switched, drained and freed. Knows no HTTP."""
