"""ESG: how scores are made and weighed, the table for what no provider tells, and keeping them up to date."""
