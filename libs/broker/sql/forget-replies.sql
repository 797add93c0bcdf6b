-- Removes $1 expired answers at most.
-- Locks: see sluice.forget_replies.
select sluice.forget_replies($1) as gone
