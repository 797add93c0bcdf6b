-- Takes the delayed message with id $1 back.
-- Locks: the row.
select sluice.recall($1) as recalled
