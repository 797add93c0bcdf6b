-- Ends the pauses of group $1, of topic $2 (null: all), and lets what has gathered go: $3 messages per $4 ms, until $5 (ms since
-- 1970) at the latest (null: until it is done).
-- Locks: see sluice.release_group.
select sluice.release_group($1, $3::integer, make_interval(secs => $4::double precision / 1000), $2,
  to_timestamp($5::double precision / 1000)) as ended
