-- Writes positions; those returned were accepted.
-- Locks: see sluice.commit_positions.
select position from sluice.commit_positions(
  $1::text::integer[], $2::text::bigint[], $3::text::bigint[], $4::text::text[], $5::text::bigint[]) as position
