"""Was it worth it? Scores, intervals, trends and verdicts, made from what a run left behind."""
