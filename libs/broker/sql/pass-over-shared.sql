-- A shared group passes over what was dropped in positions $1 and is leased to nobody.
-- Locks: see sluice.pass_over_shared.
select position, from_offset, to_offset from sluice.pass_over_shared($1::text::integer[])
