-- As move-to-retry.sql, $1 to $9; where the message is moved, its group $10 is paused in topic $11, for the reason $12.
-- Locks: see sluice.move_to_retry and sluice.pause_group.
select m.outcome, m.claim, case when m.outcome = 'moved' then sluice.pause_group($10, $11, null, $12) end as paused
from sluice.move_to_retry($1, $2, $3, $4, $5, $6, $7, $8, $9) m
