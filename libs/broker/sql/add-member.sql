-- A new member named $1 behind server process $2, with a lease of $3 ms; $4: it has no session, and lives by that alone.
-- Locks: none.
insert into sluice.member (name, backend_pid, lease_until, leased)
values ($1, $2, clock_timestamp() + make_interval(secs => $3::double precision / 1000), $4) returning member
