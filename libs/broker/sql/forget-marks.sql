-- Removes marks of dropped messages that a higher one has replaced, $1 at most.
-- Locks: see sluice.forget_marks.
select sluice.forget_marks($1) as gone
