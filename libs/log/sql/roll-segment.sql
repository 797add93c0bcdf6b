-- Closes the newest segment of topic $1 and begins the next.
-- Locks: see sluice.roll_segment.
select sluice.roll_segment($1) as segment
