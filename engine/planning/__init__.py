"""From a spec to a job: how this machine computes it, what memory and time it takes, and what to know before."""
