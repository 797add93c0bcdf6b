-- Hands $3 dead letters of group $1 in topic $2 (null: in all) to it once more, of those that died before $4.
-- Locks: see sluice.redrive_group.
select sluice.redrive_group($1, $2, $3, $4::text::timestamptz) as moved
