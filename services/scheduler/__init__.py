"""The clock of the system: owns cron schedules and the alarms of jobs that wait for a time.

Accepts scheduler.* commands. Announces scheduler.* events. Reacts to job.deferred and job.attempt_failed, and to its
own scheduler.fired, by which a run's job is submitted.
"""
