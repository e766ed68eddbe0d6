"""The parts of JobsService, by what they are for; jobs_service.py joins them. Who may ask is the callers' to check."""
