"""The clock of the system: owns cron schedules and the alarms of jobs that wait for a time.

Accepts scheduler.* commands. Announces scheduler.* events. Reacts to job.submitted, job.attempt_failed and what ends
a wait, and to its own scheduler.fired, by which a run's job is submitted.
"""
